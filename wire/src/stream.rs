//! The messages of the WebSocket stream: JSON objects with a `type`.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{Cursor, Event, Gap, Problem, Receipt};

/// What a client says.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ClientMessage {
    /// Adds topics, each as `TOPIC[@POSITION]`; one that is subscribed already moves to the new position.
    Subscribe {
        from: Vec<String>,
    },
    Unsubscribe {
        topics: Vec<String>,
    },
    /// Publishes one event; it is answered with `published` once the engine has it, or with a `problem`.
    Publish {
        topic: String,
        data: Box<RawValue>,
        /// An idempotency key: a second publish with the same key and data changes nothing.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<String>,
        /// The event's type: what HTTP calls `ce-type`. (`type` is the message's own.)
        #[serde(default, skip_serializing_if = "Option::is_none")]
        event_type: Option<String>,
        /// The event's id: `ce-id`. Without a key it serves as one, in a name space of its own.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<String>,
        /// Events with the same one keep their order where a topic has partitions: `ce-partitionkey`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        partition_key: Option<String>,
        /// Comes back in the answer, so that answers can be told apart.
        #[serde(default, rename = "ref", skip_serializing_if = "Option::is_none")]
        reference: Option<String>,
    },
    /// A clock probe; `t0_us` comes back as it was sent.
    Ping {
        t0_us: i64,
    },
}

/// What tells messages apart.
#[derive(Deserialize)]
struct Tag<'a> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
}

impl ClientMessage {
    /// Reads one message; an unknown type or member is an error.
    ///
    /// Not derived: an internally tagged enum buffers its members, and `data` could not stay raw.
    pub fn parse(text: &str) -> Result<Self, serde_json::Error> {
        /// Those without raw members.
        #[derive(Deserialize)]
        #[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
        enum Plain {
            Subscribe { from: Vec<String> },
            Unsubscribe { topics: Vec<String> },
            Ping { t0_us: i64 },
        }
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Publish {
            #[serde(rename = "type")]
            _kind: IgnoredAny,
            topic: String,
            data: Box<RawValue>,
            key: Option<String>,
            event_type: Option<String>,
            id: Option<String>,
            partition_key: Option<String>,
            #[serde(rename = "ref")]
            reference: Option<String>,
        }
        if serde_json::from_str::<Tag<'_>>(text)?.kind == "publish" {
            let publish: Publish = serde_json::from_str(text)?;
            return Ok(Self::Publish {
                topic: publish.topic,
                data: publish.data,
                key: publish.key,
                event_type: publish.event_type,
                id: publish.id,
                partition_key: publish.partition_key,
                reference: publish.reference,
            });
        }
        Ok(match serde_json::from_str(text)? {
            Plain::Subscribe { from } => Self::Subscribe { from },
            Plain::Unsubscribe { topics } => Self::Unsubscribe { topics },
            Plain::Ping { t0_us } => Self::Ping { t0_us },
        })
    }
}

/// What the server says.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ServerMessage<'a> {
    /// Always the first message: a lane is connected only after it.
    Hello(Hello),
    #[serde(borrow)]
    Events(Events<'a>),
    Gap(Gap),
    Published(Published),
    Pong(Pong),
    Problem(StreamProblem),
}

impl<'a> ServerMessage<'a> {
    /// Reads one message. `None` for a type that this version does not know: to be passed over.
    ///
    /// Not derived: an internally tagged enum buffers its members, and `data` could not stay raw.
    pub fn parse(text: &'a str) -> Result<Option<Self>, serde_json::Error> {
        // The server writes the type first; the other order is legal JSON and merely slower.
        if text.starts_with(r#"{"type":"events","#) {
            return serde_json::from_str(text).map(|events| Some(Self::Events(events)));
        }
        let tag: Tag<'_> = serde_json::from_str(text)?;
        Ok(Some(match &*tag.kind {
            "hello" => Self::Hello(serde_json::from_str(text)?),
            "events" => Self::Events(serde_json::from_str(text)?),
            "gap" => Self::Gap(serde_json::from_str(text)?),
            "published" => Self::Published(serde_json::from_str(text)?),
            "pong" => Self::Pong(serde_json::from_str(text)?),
            "problem" => Self::Problem(serde_json::from_str(text)?),
            _ => return Ok(None),
        }))
    }
}

/// The server introduces itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Hello {
    /// [`crate::PROTOCOL`].
    pub protocol: u32,
    /// The version of the back end.
    pub version: String,
    /// The node that serves this connection; its host's name is what `host` says in the events it produces.
    pub node: String,
    pub host: String,
    /// The name under which this connection's figures are counted.
    pub reader: String,
    /// The request came through a proxy (Trunk's, or one that says so): its time is in every figure.
    pub proxied: bool,
    pub limits: Limits,
}

/// What the server takes and how it keeps a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// The largest message from a client, in bytes.
    pub message_bytes: u32,
    /// Topics a connection may subscribe to.
    pub subscriptions: u32,
    /// The server pings when nothing was sent for this long; a client that heard nothing for twice as long
    /// may take the connection for dead. In milliseconds.
    pub heartbeat_ms: u32,
    /// How far a reader may lag behind in a log topic before events are dropped for it, in bytes of events.
    pub window_bytes: u32,
}

/// Events that were ready together.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Events<'a> {
    #[serde(borrow)]
    pub events: Vec<Event<'a>>,
    /// Where this reader now stands in each topic that moved: with these it resumes.
    pub next: BTreeMap<String, Cursor>,
    /// When the server had put this message together.
    pub sent_us: i64,
}

/// The answer to a `publish`: the event is in the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Published {
    #[serde(default, rename = "ref", skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    #[serde(flatten)]
    pub receipt: Receipt,
}

/// The answer to a clock probe (RFC 5905, section 8).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pong {
    pub t0_us: i64,
    pub t1_us: i64,
    pub t2_us: i64,
}

/// Something the server refused or could not do; where `closing` is true it closes the connection next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamProblem {
    /// As the same problem would stand in an HTTP answer (RFC 9457).
    pub problem: Problem,
    pub closing: bool,
    /// The `ref` of the publish that it answers.
    #[serde(default, rename = "ref", skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_message_of_the_server_reads_back_under_its_type() {
        let pong = Pong {
            t0_us: 1,
            t1_us: 2,
            t2_us: 3,
        };
        let text = serde_json::to_string(&ServerMessage::Pong(pong)).unwrap();
        assert_eq!(text, r#"{"type":"pong","t0_us":1,"t1_us":2,"t2_us":3}"#);
        assert!(matches!(ServerMessage::parse(&text), Ok(Some(ServerMessage::Pong(p))) if p == pong));
    }

    #[test]
    fn events_keep_the_bytes_of_their_data() {
        let event = r#"{"topic":"t","epoch":"0123456789ab","partition":0,"offset":7,"id":"i","produced_us":1,"ingested_us":2,"type":"x","data":{"b": 1.50}}"#;
        let text = format!(r#"{{"next":{{"t":"0123456789ab-8"}},"sent_us":3,"events":[{event}],"type":"events"}}"#);
        let Ok(Some(ServerMessage::Events(message))) = ServerMessage::parse(&text) else {
            panic!("not events")
        };
        assert_eq!(message.events[0].data.get(), r#"{"b": 1.50}"#);
        assert_eq!(serde_json::to_string(&message.events[0]).unwrap(), event);
    }

    #[test]
    fn an_unknown_type_is_passed_over_and_rubbish_is_an_error() {
        assert!(matches!(ServerMessage::parse(r#"{"type":"later"}"#), Ok(None)));
        assert!(ServerMessage::parse("rubbish").is_err());
        for wrong in [
            r#"{"type":"subscribe","from":["t"],"x":1}"#,
            r#"{"type":"publish","topic":"t","data":1,"x":1}"#,
            r#"{"type":"publish","topic":"t"}"#,
            r#"{"type":"shout"}"#,
            r#"{"topic":"t","data":1}"#,
        ] {
            assert!(ClientMessage::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_a_client_says_is_read_as_it_was_written() {
        let publish = r#"{"type":"publish","topic":"t","data":{"a":1.50},"key":"k","ref":"r"}"#;
        for text in [
            publish,
            r#"{"type":"publish","topic":"t","data":null}"#,
            r#"{"type":"publish","topic":"t","data":1,"key":"k","event_type":"e","id":"i","partition_key":"p","ref":"r"}"#,
            r#"{"type":"subscribe","from":["t@latest"]}"#,
            r#"{"type":"unsubscribe","topics":["t"]}"#,
            r#"{"type":"ping","t0_us":5}"#,
        ] {
            let message = ClientMessage::parse(text).unwrap();
            assert_eq!(serde_json::to_string(&message).unwrap(), text);
        }
        // In whatever order.
        let other = r#"{"data":{"a":1.50},"ref":"r","topic":"t","key":"k","type":"publish"}"#;
        let message = ClientMessage::parse(other).unwrap();
        assert_eq!(serde_json::to_string(&message).unwrap(), publish);
    }
}
