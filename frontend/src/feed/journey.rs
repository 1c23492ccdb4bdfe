//! The way of one event to this page: produced, ingested, sent, received. Pure.

/// The moments of an event, in microseconds: the first three by the server's stamps, the last by this page's clock moved onto the
/// server's.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Times {
    pub produced_us: i64,
    pub ingested_us: i64,
    /// When the message that brought it was put together.
    pub sent_us: i64,
    pub received_us: f64,
    /// Another machine's clock says when it was produced: that and the rest are not compared.
    pub foreign: bool,
}

/// One stage of the way.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stage {
    pub name: &'static str,
    pub at_us: i64,
    /// Since the stage before; `None` for the first, and where that was stamped by a clock that is not compared.
    pub took_us: Option<f64>,
}

/// An event that was older than this when it was sent was read from what is kept, not as it came.
const HISTORY_US: i64 = 2_000_000;

impl Times {
    pub fn stages(&self) -> [Stage; 4] {
        let stage = |name, at_us: i64, before_us: Option<i64>| Stage {
            name,
            at_us,
            took_us: before_us.map(|before_us| (at_us - before_us) as f64),
        };
        [
            stage("produced", self.produced_us, None),
            stage(
                "ingested",
                self.ingested_us,
                (!self.foreign).then_some(self.produced_us),
            ),
            stage("sent", self.sent_us, Some(self.ingested_us)),
            Stage {
                name: "received",
                at_us: self.received_us as i64,
                took_us: Some(self.received_us - self.sent_us as f64),
            },
        ]
    }

    /// Delivery latency: from when it was produced, or ingested where another clock says when that was.
    pub fn latency_us(&self) -> f64 {
        let from_us = if self.foreign {
            self.ingested_us
        } else {
            self.produced_us
        };
        self.received_us - from_us as f64
    }

    /// It waited in the log until it was asked for: its latency tells nothing of the delivery.
    pub fn is_history(&self) -> bool {
        self.sent_us - self.ingested_us > HISTORY_US
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(foreign: bool) -> Times {
        Times {
            produced_us: 1000,
            ingested_us: 1250,
            sent_us: 1300,
            received_us: 1200.5,
            foreign,
        }
    }

    #[test]
    fn the_stages_add_up_to_the_latency_and_what_is_negative_stays_so() {
        let times = times(false);
        let took: Vec<_> = times.stages().iter().map(|stage| stage.took_us).collect();
        assert_eq!(took, [None, Some(250.0), Some(50.0), Some(-99.5)]);
        assert_eq!(took.iter().flatten().sum::<f64>(), times.latency_us());
    }

    #[test]
    fn anothers_clock_starts_no_latency() {
        let times = times(true);
        assert_eq!(times.stages()[1].took_us, None);
        assert_eq!(times.latency_us(), -49.5);
    }

    #[test]
    fn what_waited_in_the_log_is_history() {
        assert!(!times(false).is_history());
        assert!(
            Times {
                sent_us: 2_001_251,
                ..times(false)
            }
            .is_history()
        );
    }
}
