//! Following a topic: its subscription is made, what it brings is put into the spool, and acknowledged when it is on disk there.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesOrdered;
use google_cloud_auth::credentials::anonymous;
use google_cloud_gax::exponential_backoff::ExponentialBackoffBuilder;
use google_cloud_gax::retry_policy::RetryPolicyExt;
use google_cloud_pubsub::client::{BasePublisher, SubscriptionAdmin, TopicAdmin};
use google_cloud_pubsub::model::{ExpirationPolicy, Subscription};
use google_cloud_pubsub::retry_policy::RetryableErrors;
use google_cloud_pubsub::{Error, Result as Answered};

use super::publish::{DELIVERY, Topic};
use super::pull::{Puller, Received};
use super::{ANSWER, Shared, message};
use crate::pubsub::{Ack, Idempotency, PubSub, PubSubError, Publication};

/// Between two looks at a subscription, for each [`LOOKS`] topics begun: a project has 6,000 such questions a minute.
const LOOK: Duration = Duration::from_secs(2);
const LOOKS: usize = 8;

/// Before the next try: doubled each time, up to the most.
const PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// The longest between two tries of what was published.
const AGAIN: Duration = Duration::from_secs(1);

/// What was not acknowledged for so long comes again, and holds up what follows of the same key: after a crash that is how long keyed
/// events wait. The least that the service takes; the spool has what is pulled on disk long before, and what comes twice is known.
const LEASE: Duration = Duration::from_secs(10);

/// What a subscription says whose topic was deleted.
const DELETED: &str = "_deleted-topic_";

/// An emulator is asked again so soon after it had nothing.
const EMULATOR_PAUSE: Duration = Duration::from_millis(25);

/// The service's clients.
#[derive(Debug)]
pub(super) struct Clients {
    topics: TopicAdmin,
    subscriptions: SubscriptionAdmin,
    puller: Puller,
    publishers: BasePublisher,
}

/// Sets up a client: an emulator's address and no credentials, or the standard credentials.
macro_rules! client {
    ($builder:expr, $emulator:expr) => {{
        let builder = $builder;
        let builder = match $emulator {
            Some(endpoint) => builder
                .with_endpoint(endpoint.clone())
                .with_credentials(anonymous::Builder::new().build()),
            None => builder,
        };
        builder.build().await.map_err(|error| error.to_string())
    }};
}

impl Clients {
    async fn new(emulator: Option<&String>) -> Result<Self, String> {
        Ok(Self {
            topics: client!(TopicAdmin::builder(), emulator)?,
            subscriptions: client!(SubscriptionAdmin::builder(), emulator)?,
            puller: Puller::new(emulator).await?,
            // It gives up when those who published have: what comes later than that would be a surprise. What follows of the same key waits
            // for what is tried again, so a service that is back is to be seen soon.
            publishers: client!(
                BasePublisher::builder()
                    .with_retry_policy(RetryableErrors.with_time_limit(DELIVERY))
                    .with_backoff_policy(
                        ExponentialBackoffBuilder::new()
                            .with_initial_delay(PAUSE / 2)
                            .with_maximum_delay(AGAIN)
                            .clamp()
                    ),
                emulator
            )?,
        })
    }
}

/// Follows a topic until it is to stop, or is aborted.
pub(super) async fn run(shared: Arc<Shared>, topic: Arc<Topic>) {
    let mut pause = PAUSE;
    loop {
        let started = tokio::time::Instant::now();
        let why = Box::pin(round(&shared, &topic)).await;
        topic.ready.send_replace(false);
        if *topic.stop.borrow() {
            return;
        }
        tracing::warn!(topic = topic.name, why, "Pub/Sub is not followed");
        shared.health.tell(&topic.name, Some(why));
        if started.elapsed() > LONGEST_PAUSE {
            pause = PAUSE;
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Follows it until something is wrong, and says what.
async fn round(shared: &Arc<Shared>, topic: &Arc<Topic>) -> String {
    let emulator = shared.config.emulator.as_ref();
    let clients = within(async {
        let clients = shared.clients.get_or_try_init(|| Clients::new(emulator)).await;
        clients.map_err(|error| format!("no client: {error}"))
    });
    let clients = match clients.await {
        Ok(clients) => clients,
        Err(why) => return why,
    };
    if let Err(why) = ensure(shared, topic, clients).await {
        return why;
    }
    if topic.publisher.lock().is_none() {
        let publisher = clients
            .publishers
            .publisher(&topic.path)
            .set_delay_threshold(Duration::from_millis(2))
            .build();
        *topic.publisher.lock() = Some(Arc::new(publisher));
    }
    shared.health.tell(&topic.name, None);
    topic.ready.send_replace(true);
    tokio::select! {
        why = receive(shared, topic, clients) => why,
        why = look(shared, topic, clients) => why,
    }
}

async fn within<T>(asking: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    let answer = tokio::time::timeout(ANSWER, asking).await;
    answer.unwrap_or_else(|_| Err(format!("no answer within {} s", ANSWER.as_secs())))
}

/// Makes the topic and this node's subscription where they are not there.
async fn ensure(shared: &Shared, topic: &Topic, clients: &Clients) -> Result<(), String> {
    within(async {
        let found = clients.topics.get_topic().set_topic(&topic.path).send().await;
        if is(&found, "NOT_FOUND") {
            made(clients.topics.create_topic().set_name(&topic.path).send().await)
        } else {
            found.map(|_| ()).map_err(|error| error.to_string())
        }
    })
    .await?;
    within(async {
        let found = clients.subscriptions.get_subscription();
        let found = found.set_subscription(&topic.subscription).send().await;
        if !is(&found, "NOT_FOUND") {
            let found = found.map_err(|error| error.to_string())?;
            if found.topic != DELETED {
                return follows(&found, topic);
            }
            // It would stay empty for ever; the topic of the same name that was made since is another one.
            let away = clients.subscriptions.delete_subscription();
            let away = away.set_subscription(&topic.subscription).send().await;
            if !is(&away, "NOT_FOUND") {
                away.map_err(|error| error.to_string())?;
            }
        }
        let ttl = i64::from(shared.config.subscription_expiry_s);
        let ttl = google_cloud_wkt::Duration::clamp(ttl, 0);
        let make = clients
            .subscriptions
            .create_subscription()
            .set_name(&topic.subscription)
            .set_topic(&topic.path)
            .set_ack_deadline_seconds(i32::try_from(LEASE.as_secs()).unwrap_or(10))
            .set_enable_message_ordering(true)
            .set_expiration_policy(ExpirationPolicy::new().set_ttl(ttl));
        made(make.send().await)
    })
    .await
}

fn follows(subscription: &Subscription, topic: &Topic) -> Result<(), String> {
    let of = &subscription.topic;
    if *of == topic.path {
        Ok(())
    } else if of == DELETED {
        Err("the topic was deleted there".to_owned())
    } else {
        let name = &topic.subscription;
        Err(format!("{name} is another one's subscription: its topic is {of}"))
    }
}

fn is<T>(answer: &Answered<T>, code: &str) -> bool {
    let status = answer.as_ref().err().and_then(Error::status);
    status.is_some_and(|status| status.code.name() == code)
}

/// Another node may have been faster.
fn made<T>(answer: Answered<T>) -> Result<(), String> {
    if is(&answer, "ALREADY_EXISTS") {
        return Ok(());
    }
    answer.map(|_| ()).map_err(|error| error.to_string())
}

/// Looks now and then whether the subscription is still there, and ends when it cannot be known.
async fn look(shared: &Shared, topic: &Topic, clients: &Clients) -> String {
    loop {
        let times = shared.health.topics().div_ceil(LOOKS).max(1);
        tokio::time::sleep(LOOK * u32::try_from(times).unwrap_or(u32::MAX)).await;
        let asked = within(async {
            let found = clients.subscriptions.get_subscription();
            let found = found.set_subscription(&topic.subscription).send().await;
            follows(&found.map_err(|error| error.to_string())?, topic)
        });
        if let Err(why) = asked.await {
            return why;
        }
        shared.health.tell(&topic.name, None);
    }
}

/// Puts what comes into the spool, in its order, and acknowledges what is on disk.
async fn receive(shared: &Shared, topic: &Topic, clients: &Clients) -> String {
    let name = &topic.subscription;
    let mut stop = topic.stop.subscribe();
    loop {
        let pulled = tokio::select! {
            // What was pulled is spooled and acknowledged before it is looked whether to stop: what is not acknowledged holds up what
            // follows of its key.
            biased;
            _ = stop.wait_for(|&is_to_stop| is_to_stop) => return "it is to stop".to_owned(),
            pulled = clients.puller.pull(name) => pulled,
        };
        let pulled = match pulled {
            Ok(pulled) => pulled,
            Err(error) => return error.to_string(),
        };
        if pulled.is_empty() {
            if shared.config.emulator.is_some() {
                tokio::time::sleep(EMULATOR_PAUSE).await;
            }
            continue;
        }
        let mut spooling: FuturesOrdered<_> = pulled
            .into_iter()
            .map(|received| spool(shared, topic, received))
            .collect();
        let mut on_disk = Vec::with_capacity(spooling.len());
        let mut refused = None;
        while let Some(done) = spooling.next().await {
            match done {
                Ok(ack_id) => on_disk.push(ack_id),
                // It is not acknowledged, nor what came after it: all of it comes again, in order.
                Err(error) => {
                    refused = Some(error);
                    break;
                }
            }
        }
        if !on_disk.is_empty() {
            let acknowledged = within(async {
                let acknowledged = clients.puller.acknowledge(name, on_disk).await;
                acknowledged.map_err(|error| error.to_string())
            });
            if let Err(why) = acknowledged.await {
                return why;
            }
        }
        if let Some(error) = refused {
            return format!("the spool does not take it: {error}");
        }
    }
}

/// Hands the event to the spool at once; the future ends when it is on disk, with what it is acknowledged by.
fn spool(shared: &Shared, topic: &Topic, received: Received) -> impl Future<Output = Result<String, PubSubError>> {
    let Received { ack_id, message } = received;
    let message = message.unwrap_or_default();
    let record = message::record(
        &message.attributes,
        &message.data,
        &message.message_id,
        message.published_us(),
    );
    let key = record.id.clone().unwrap_or_default();
    let appended = shared.spool.publish(
        &topic.name,
        Publication {
            records: vec![record],
            // The same id is the same event, whatever else it carries.
            idempotency: Some(Idempotency { key, digest: [0; 16] }),
            ack: Ack::Durable,
        },
    );
    async move {
        let answer = match appended.await {
            Ok(receipts) => receipts.into_iter().next().ok_or(PubSubError::Closed),
            // Of a leader that leads no more, or larger than any record: it is never taken, so it must not come again.
            Err(error @ (PubSubError::Fenced { .. } | PubSubError::TooLarge { .. })) => {
                tracing::warn!(topic = topic.name, message = message.message_id, %error, "an event is left out");
                Err(error)
            }
            Err(error) => return Err(error),
        };
        if let Some(ticket) = message.attributes.get(message::TRY) {
            topic.tell(ticket, answer);
        }
        Ok(ack_id)
    }
}
