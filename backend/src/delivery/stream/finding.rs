//! Subscriptions whose places are still looked for: a time may have to be searched for in the engine's log, and that may take long.
//!
//! A message of the client is applied whole or not at all, and whoever comes last has the last word about a topic, also when what came
//! before is found later.

use std::collections::HashMap;
use std::future::pending;
use std::sync::Arc;

use freshet_wire::From;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};

use super::super::Service;
use crate::error::Error;
use crate::tail::Place;

/// Messages whose places are looked for at once.
const MOST_SEARCHES: usize = 16;

/// The places of one message.
pub(super) type Found = Result<Vec<Place>, Error>;

/// What is looked for.
#[derive(Default)]
pub(super) struct Finding {
    searches: FuturesUnordered<BoxFuture<'static, (u64, Found)>>,
    number: u64,
    /// By topic, the search that has the last word about it.
    wanted: HashMap<String, u64>,
}

impl Finding {
    /// Looks for the places. They are answered where that takes no time, else by [`Self::next`].
    pub(super) fn find(&mut self, service: &Arc<Service>, froms: Vec<From>) -> Result<Option<Vec<Place>>, Error> {
        if self.searches.len() >= MOST_SEARCHES {
            return Err(Error::busy(
                "more subscriptions of this stream are looked for than are taken",
            ));
        }
        let names: Vec<String> = froms.iter().map(|from| from.topic.clone()).collect();
        let service = Arc::clone(service);
        let mut finding = async move { Ok(Place::find_all(&service.tail, &froms).await?) }.boxed();
        match (&mut finding).now_or_never() {
            Some(found) => {
                let found: Vec<Place> = found?;
                names.iter().for_each(|name| _ = self.forget(name));
                Ok(Some(found))
            }
            None => {
                self.number += 1;
                let number = self.number;
                self.wanted.extend(names.into_iter().map(|name| (name, number)));
                self.searches.push(finding.map(move |found| (number, found)).boxed());
                Ok(None)
            }
        }
    }

    /// Topics that are looked for.
    pub(super) fn topics(&self) -> impl Iterator<Item = &str> {
        self.wanted.keys().map(String::as_str)
    }

    /// What is looked for of this topic is not wanted any more. Whether there was such a search.
    pub(super) fn forget(&mut self, topic: &str) -> bool {
        self.wanted.remove(topic).is_some()
    }

    /// The places of the next search that has ended, as far as they are wanted. Nothing is lost if it is not waited for to the end.
    pub(super) async fn next(&mut self) -> Found {
        let Some((number, found)) = self.searches.next().await else {
            return pending().await;
        };
        let mut wanted = Vec::new();
        self.wanted.retain(|topic, search| {
            if *search == number {
                wanted.push(topic.clone());
            }
            *search != number
        });
        let mut places = found?;
        places.retain(|place| wanted.iter().any(|topic| **topic == **place.topic().name()));
        Ok(places)
    }
}
