//! The subscription's plain Pull: a question, and an answer with the messages that are there.
//!
//! Not `StreamingPull`, because Google's emulator (0.8.20) does not notice that a stream's client is gone, neither by the stream's reset nor
//! by the connection's end: it goes on giving the stream its share of the ordering keys, which then reach nobody. A pull ends with its
//! answer, so nothing is left behind by a node that was closed or has crashed.
//! The client that Google gives out has no Pull; what that client itself sends by, credentials and all, has.

use std::collections::HashMap;
use std::time::Duration;

use google_cloud_auth::credentials::anonymous;
use google_cloud_gax::error::rpc::Code;
use google_cloud_gax::options::RequestOptions;
use google_cloud_gax::retry_policy::NeverRetry;
use google_cloud_gax_internal::grpc::{Client, tonic};
use google_cloud_gax_internal::options::ClientConfig;
use google_cloud_pubsub::{Error, Result as Answered};
use http::uri::PathAndQuery;
use prost::bytes::Bytes;

const SERVICE: &str = "https://pubsub.googleapis.com";

/// Messages in an answer; the service takes no more.
const MESSAGES: i32 = 1000;

/// The service answers a pull that finds nothing within 90 s; beyond that, it is asked again.
const PATIENCE: Duration = Duration::from_secs(100);

const ANSWER: Duration = super::ANSWER;

/// Who asks.
const CLIENT: &str = concat!("gl-rust/ gccl/", env!("CARGO_PKG_VERSION"));

/// `google.pubsub.v1.PullRequest`
#[derive(Clone, PartialEq, prost::Message)]
struct PullRequest {
    #[prost(string, tag = "1")]
    subscription: String,
    #[prost(bool, tag = "2")]
    return_immediately: bool,
    #[prost(int32, tag = "3")]
    max_messages: i32,
}

/// `google.pubsub.v1.PullResponse`
#[derive(Clone, PartialEq, prost::Message)]
struct PullResponse {
    #[prost(message, repeated, tag = "1")]
    received: Vec<Received>,
}

/// `google.pubsub.v1.ReceivedMessage`
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Received {
    #[prost(string, tag = "1")]
    pub(super) ack_id: String,
    #[prost(message, optional, tag = "2")]
    pub(super) message: Option<Message>,
}

/// `google.pubsub.v1.PubsubMessage`
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Message {
    #[prost(bytes = "bytes", tag = "1")]
    pub(super) data: Bytes,
    #[prost(map = "string, string", tag = "2")]
    pub(super) attributes: HashMap<String, String>,
    #[prost(string, tag = "3")]
    pub(super) message_id: String,
    #[prost(message, optional, tag = "4")]
    publish_time: Option<Timestamp>,
}

/// `google.protobuf.Timestamp`
#[derive(Clone, PartialEq, prost::Message)]
struct Timestamp {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

/// `google.pubsub.v1.AcknowledgeRequest`
#[derive(Clone, PartialEq, prost::Message)]
struct AcknowledgeRequest {
    #[prost(string, tag = "1")]
    subscription: String,
    #[prost(string, repeated, tag = "2")]
    ack_ids: Vec<String>,
}

/// `google.protobuf.Empty`
#[derive(Clone, PartialEq, prost::Message)]
struct Empty {}

impl Message {
    /// When the service took it, in microseconds since the Unix epoch; 0 if it does not say.
    pub(super) fn published_us(&self) -> i64 {
        let time = self.publish_time.as_ref();
        time.map_or(0, |time| {
            time.seconds
                .saturating_mul(1_000_000)
                .saturating_add(i64::from(time.nanos) / 1000)
        })
    }
}

#[derive(Debug)]
pub(super) struct Puller {
    client: Client,
    is_emulator: bool,
}

impl Puller {
    /// With an emulator's address and no credentials, or with the standard credentials.
    pub(super) async fn new(emulator: Option<&String>) -> Result<Self, String> {
        let mut config = ClientConfig::default();
        if let Some(endpoint) = emulator {
            config.endpoint = Some(endpoint.clone());
            config.cred = Some(anonymous::Builder::new().build());
        }
        let client = Client::new(config, SERVICE).await.map_err(|error| error.to_string())?;
        Ok(Self {
            client,
            is_emulator: emulator.is_some(),
        })
    }

    /// What is there. The service waits a while for something to be; an emulator answers at once, since it would hand what comes
    /// to a question that nobody waits for any more.
    pub(super) async fn pull(&self, subscription: &str) -> Answered<Vec<Received>> {
        let request = PullRequest {
            subscription: subscription.to_owned(),
            return_immediately: self.is_emulator,
            max_messages: MESSAGES,
        };
        let patience = if self.is_emulator { ANSWER } else { PATIENCE };
        let path = PathAndQuery::from_static("/google.pubsub.v1.Subscriber/Pull");
        let answer: Answered<PullResponse> = self.ask(path, request, subscription, patience).await;
        match answer {
            Ok(answer) => Ok(answer.received),
            Err(error) if !self.is_emulator && is_late(&error) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    pub(super) async fn acknowledge(&self, subscription: &str, ack_ids: Vec<String>) -> Answered<()> {
        let request = AcknowledgeRequest {
            subscription: subscription.to_owned(),
            ack_ids,
        };
        let path = PathAndQuery::from_static("/google.pubsub.v1.Subscriber/Acknowledge");
        let answer: Answered<Empty> = self.ask(path, request, subscription, ANSWER).await;
        answer.map(|_| ())
    }

    async fn ask<Q, A>(&self, path: PathAndQuery, question: Q, subscription: &str, patience: Duration) -> Answered<A>
    where
        Q: prost::Message + Clone + 'static,
        A: prost::Message + Default + 'static,
    {
        let mut options = RequestOptions::default();
        options.set_attempt_timeout(patience);
        // Whoever follows asks again.
        options.set_retry_policy(NeverRetry);
        let route = format!("subscription={subscription}");
        let extensions = tonic::Extensions::new();
        let answer = self.client.execute(extensions, path, question, options, CLIENT, &route);
        Ok(answer.await?.into_inner())
    }
}

fn is_late(error: &Error) -> bool {
    error.is_timeout()
        || error
            .status()
            .is_some_and(|status| status.code == Code::DeadlineExceeded)
}
