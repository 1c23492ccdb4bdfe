//! `GET /clock`: the clock probe over HTTP, for when there is no stream.

use axum::Json;
use freshet_wire::Clock;

use crate::time::now_us;

/// The server's two timestamps of a probe (RFC 5905, section 8). Spends no quota.
#[utoipa::path(get, path = "/api/v1/clock", tag = "service", responses((status = 200, body = Clock)))]
pub(super) async fn probe() -> Json<Clock> {
    let t1_us = now_us();
    Json(Clock { t1_us, t2_us: now_us() })
}
