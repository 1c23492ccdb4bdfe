//! What publishing answers.

use serde::{Deserialize, Serialize};

use crate::Epoch;

/// An event is in the log, as durably as its topic promises: here is where.
///
/// `POST /topics/{topic}/events` answers one event with one of these, and a batch (NDJSON) with one a line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Receipt {
    pub topic: String,
    #[cfg_attr(feature = "schema", schema(value_type = String))]
    pub epoch: Epoch,
    pub partition: u32,
    pub offset: u64,
    /// The event's id.
    pub id: String,
    /// The key had been used before for the same data: this is what the first try was answered.
    pub duplicate: bool,
}
