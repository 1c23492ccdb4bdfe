//! Questions to the cluster: which topics there are, where their logs begin and end; and the making of topics.
//!
//! Everything here blocks, for as long as is said; it is called on threads that may.

use std::ffi::{CStr, CString, c_char};
use std::ptr::NonNull;
use std::sync::Arc;
use std::time::{Duration, Instant};

use freshet_wire::{Epoch, Retention, TopicKind};
use parking_lot::Mutex;
use rdkafka::TopicPartitionList;
use rdkafka::admin::{AdminClient, AdminOptions, ConfigSource, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::bindings as ffi;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::topic_partition_list::Offset;
use sha1::{Digest, Sha1};
use tokio::runtime::Handle;

use super::client::{Context, Health, MESSAGE_BYTES, Setup};
use crate::pubsub::Extent;

/// A client for making topics is let go of when it was not used for so long: what such a client has to say is not heard.
const IDLE: Duration = Duration::from_secs(10);

/// Asks the cluster.
pub(super) struct Cluster {
    setup: Setup,
    health: Arc<Health>,
    client: BaseConsumer<Context>,
    admin: Mutex<Option<(Arc<AdminClient<Context>>, Instant)>>,
    runtime: Handle,
}

/// What the cluster says of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Description {
    pub(super) name: String,
    /// Why there is nothing to say.
    pub(super) error: Option<RDKafkaErrorCode>,
    pub(super) id: TopicId,
    pub(super) partitions: usize,
    /// Every partition has a leader.
    pub(super) is_led: bool,
}

/// A topic's identity: one that is deleted and made again is another one, by the same name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct TopicId(u64, u64);

impl TopicId {
    /// The brokers are older than topic ids (Kafka 2.8).
    pub(super) fn is_unknown(self) -> bool {
        self == Self::default()
    }

    /// The epoch of the log behind it; `rewound` counts how often its end was lost since this process knows it.
    pub(super) fn epoch(self, rewound: u64) -> Epoch {
        Epoch::new(self.0 ^ self.1.rotate_left(24) ^ rewound.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }
}

/// What the cluster keeps of a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Policy {
    pub(super) kind: TopicKind,
    pub(super) retention: Retention,
}

impl Cluster {
    /// To be called in the runtime that waits for the answers.
    pub(super) fn new(setup: &Setup, health: &Arc<Health>) -> KafkaResult<Self> {
        Ok(Self {
            admin: Mutex::default(),
            runtime: Handle::current(),
            client: setup.control().create_with_context(Context(Arc::clone(health)))?,
            health: Arc::clone(health),
            setup: setup.clone(),
        })
    }

    /// Hears what librdkafka has to say, and lets go of what is not used; to be called now and then.
    pub(super) fn listen(&self, now: Instant) {
        let idle = self.admin.lock().take_if(|(_, used)| now > *used + IDLE);
        drop(idle);
        // It has no partitions to read, so there is never a message.
        while let Some(said) = self.client.poll(Duration::ZERO) {
            drop(said);
        }
    }

    /// The names of all topics. It makes none, whatever the brokers are set to.
    pub(super) fn names(&self, bound: Duration) -> KafkaResult<Vec<String>> {
        let metadata = self.client.fetch_metadata(None, bound)?;
        Ok(metadata.topics().iter().map(|topic| topic.name().to_owned()).collect())
    }

    /// The id of a topic in a cluster that has none: the cluster's and its name.
    fn named(&self, name: &str, bound: Duration) -> TopicId {
        let cluster = self.client.client().fetch_cluster_id(bound).unwrap_or_default();
        let hash = Sha1::new()
            .chain_update(cluster)
            .chain_update([0])
            .chain_update(name)
            .finalize();
        let word = |at: usize| {
            hash[at..at + 8]
                .iter()
                .fold(0, |word, &byte| word << 8 | u64::from(byte))
        };
        TopicId(word(0), word(8) | 1)
    }

    /// What the cluster says of these topics, within this bound.
    pub(super) fn describe(&self, names: &[&str], bound: Duration) -> KafkaResult<Vec<Description>> {
        if names.is_empty() {
            self.names(bound)?;
            return Ok(Vec::new());
        }
        let mut found = describe(self.client.client().native_ptr(), names, bound)?;
        for topic in &mut found {
            if topic.error.is_none() && topic.id.is_unknown() {
                topic.id = self.named(&topic.name, bound);
            }
        }
        Ok(found)
    }

    /// The ends of each partition. An open transaction's events, and what follows them, are beyond the end.
    pub(super) fn extents(&self, topic: &str, partitions: &[u32], bound: Duration) -> KafkaResult<Vec<Extent>> {
        let firsts = self.offsets(topic, partitions, Offset::Beginning, bound)?;
        let ends = self.offsets(topic, partitions, Offset::End, bound)?;
        let pairs = firsts.into_iter().zip(ends);
        Ok(pairs
            .map(|(first, next)| {
                let first = first.unwrap_or(0);
                let next = next.unwrap_or(first).max(first);
                Extent { first, next }
            })
            .collect())
    }

    /// The oldest offset of each partition.
    pub(super) fn firsts(&self, topic: &str, partitions: &[u32], bound: Duration) -> KafkaResult<Vec<u64>> {
        let firsts = self.offsets(topic, partitions, Offset::Beginning, bound)?;
        Ok(firsts.into_iter().map(|first| first.unwrap_or(0)).collect())
    }

    /// For each partition the first offset with this time stamp or a later one, in milliseconds.
    pub(super) fn at(
        &self,
        topic: &str,
        partitions: &[u32],
        time_ms: i64,
        bound: Duration,
    ) -> KafkaResult<Vec<Option<u64>>> {
        // Negative ones are not times to Kafka.
        self.offsets(topic, partitions, Offset::Offset(time_ms.max(0)), bound)
    }

    /// Offsets by time; `Beginning` and `End` are times to the protocol, -2 and -1 (KIP-79), and so is what `Offset` carries.
    fn offsets(&self, topic: &str, partitions: &[u32], time: Offset, bound: Duration) -> KafkaResult<Vec<Option<u64>>> {
        let mut times = TopicPartitionList::new();
        for &partition in partitions {
            times.add_partition_offset(topic, i32::try_from(partition).unwrap_or(i32::MAX), time)?;
        }
        let found = self.client.offsets_for_times(times, bound)?;
        let elements = partitions.iter().map(|&partition| {
            let found = found.find_partition(topic, i32::try_from(partition).unwrap_or(i32::MAX));
            let Some(found) = found else { return Ok(None) };
            found.error()?;
            match found.offset() {
                Offset::Offset(offset) => Ok(u64::try_from(offset).ok()),
                _ => Ok(None),
            }
        });
        elements.collect()
    }

    /// Makes a topic; that it is there already is no error.
    pub(super) fn make(
        &self,
        name: &str,
        partitions: u32,
        replication: u32,
        policy: Policy,
        bound: Duration,
    ) -> KafkaResult<()> {
        let settings = settings(policy, partitions);
        let whole = |number: u32| i32::try_from(number).unwrap_or(i32::MAX);
        let mut topic = NewTopic::new(name, whole(partitions), TopicReplication::Fixed(whole(replication)));
        for (key, value) in &settings {
            topic = topic.set(key, value);
        }
        let most = MESSAGE_BYTES.to_string();
        topic = topic
            // So that an event's time of ingest is the brokers' word, the same for all.
            .set("message.timestamp.type", "LogAppendTime")
            .set("max.message.bytes", &most);
        let admin = self.admin()?;
        let made = self.runtime.block_on(admin.create_topics([&topic], &options(bound)))?;
        match made.into_iter().next() {
            Some(Err((_, RDKafkaErrorCode::TopicAlreadyExists))) => Ok(()),
            Some(Err((_, code))) => Err(KafkaError::AdminOp(code)),
            _ => Ok(()),
        }
    }

    /// How the cluster keeps these topics, as far as it tells.
    pub(super) fn policies(&self, names: &[&str], bound: Duration) -> KafkaResult<Vec<Option<Policy>>> {
        let admin = self.admin()?;
        let topics: Vec<_> = names.iter().map(|&name| ResourceSpecifier::Topic(name)).collect();
        let told = self
            .runtime
            .block_on(admin.describe_configs(&topics, &options(bound)))?;
        let policy = |resource: rdkafka::admin::ConfigResource| {
            let get = |key| resource.get(key).and_then(|entry| entry.value.as_deref());
            let number = |key| get(key).and_then(|value| value.parse::<u64>().ok());
            Policy {
                kind: match get("cleanup.policy") {
                    Some(policy) if policy.contains("compact") => TopicKind::State,
                    _ => TopicKind::Log,
                },
                // -1, which is no such number, is no bound.
                retention: Retention {
                    max_age_s: number("retention.ms").map(|ms| ms / 1000),
                    max_bytes: number("retention.bytes"),
                },
            }
        };
        // In the order of the question.
        Ok(told.into_iter().map(|told| told.ok().map(policy)).collect())
    }

    /// Changes how long a topic is kept, and leaves the rest of what is set as it is.
    pub(super) fn retain(&self, name: &str, partitions: u32, policy: Policy, bound: Duration) -> KafkaResult<()> {
        let admin = self.admin()?;
        let resource = ResourceSpecifier::Topic(name);
        let told = self
            .runtime
            .block_on(admin.describe_configs([&resource], &options(bound)))?;
        let told = told.into_iter().next().ok_or(KafkaError::Canceled)?;
        let told = told.map_err(KafkaError::AdminOp)?;
        // This request sets all that a topic has of its own, so the rest of it is said again.
        let mut all = rdkafka::admin::AlterConfig::new(resource);
        for entry in &told.entries {
            if let (ConfigSource::DynamicTopic, Some(value)) = (&entry.source, &entry.value) {
                all = all.set(&entry.name, value);
            }
        }
        let settings = settings(policy, partitions);
        for (key, value) in &settings {
            all = all.set(key, value);
        }
        let done = self.runtime.block_on(admin.alter_configs([&all], &options(bound)))?;
        match done.into_iter().next() {
            Some(Err((_, code))) => Err(KafkaError::AdminOp(code)),
            _ => Ok(()),
        }
    }

    fn admin(&self) -> KafkaResult<Arc<AdminClient<Context>>> {
        let mut kept = self.admin.lock();
        let admin = match kept.take() {
            Some((admin, _)) => admin,
            None => Arc::new(
                self.setup
                    .admin()
                    .create_with_context(Context(Arc::clone(&self.health)))?,
            ),
        };
        *kept = Some((Arc::clone(&admin), Instant::now()));
        Ok(admin)
    }
}

fn options(bound: Duration) -> AdminOptions {
    AdminOptions::new()
        .request_timeout(Some(bound))
        .operation_timeout(Some(bound))
}

/// A topic's settings that keep what the policy says. Kafka bounds each partition, and lets go of whole segments.
fn settings(policy: Policy, partitions: u32) -> Vec<(&'static str, String)> {
    let Retention { max_age_s, max_bytes } = policy.retention;
    let bytes = max_bytes.map(|bytes| (bytes / u64::from(partitions.max(1))).max(1));
    let or_none =
        |bound: Option<u64>| bound.map_or("-1".to_owned(), |bound| bound.min(i64::MAX.unsigned_abs()).to_string());
    let mut settings = vec![
        (
            "cleanup.policy",
            match policy.kind {
                TopicKind::Log => "delete",
                TopicKind::State => "compact",
            }
            .to_owned(),
        ),
        ("retention.ms", or_none(max_age_s.map(|s| s.saturating_mul(1000)))),
        ("retention.bytes", or_none(bytes)),
    ];
    // The segment that is written to is never let go of, so that a small bound wants small segments.
    if let Some(bytes) = bytes {
        settings.push(("segment.bytes", (bytes / 8).clamp(1 << 20, 1 << 30).to_string()));
    }
    if let Some(s) = max_age_s {
        let ms = s.saturating_mul(1000) / 8;
        settings.push(("segment.ms", ms.clamp(10_000, 7 * 24 * 3_600_000).to_string()));
    }
    settings
}

/// Tries again until it succeeds or the bound is reached: what was made a moment ago is not known to every broker yet.
pub(super) fn until<T>(bound: Duration, mut ask: impl FnMut(Duration) -> KafkaResult<Option<T>>) -> KafkaResult<T> {
    let end = Instant::now() + bound;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        match ask(left.max(Duration::from_millis(100))) {
            Ok(Some(found)) => return Ok(found),
            Ok(None) if left.is_zero() => return Err(KafkaError::AdminOp(RDKafkaErrorCode::OperationTimedOut)),
            Err(error) if left.is_zero() => return Err(error),
            _ => std::thread::sleep(Duration::from_millis(20).min(left)),
        }
    }
}

/// Something of librdkafka's that is to be given back.
struct Owned<T> {
    it: NonNull<T>,
    give_back: unsafe extern "C" fn(*mut T),
}

impl<T> Owned<T> {
    /// # Safety
    /// `it` is null, or nobody else gives it back, and `give_back` is how that is done.
    unsafe fn new(it: *mut T, give_back: unsafe extern "C" fn(*mut T)) -> Option<Self> {
        NonNull::new(it).map(|it| Self { it, give_back })
    }

    fn ptr(&self) -> *mut T {
        self.it.as_ptr()
    }
}

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        // SAFETY: it is given back once, in the way that `new` was told.
        unsafe { (self.give_back)(self.it.as_ptr()) }
    }
}

/// DescribeTopics, which rdkafka does not wrap, and which alone tells the topics' ids (KIP-516).
fn describe(client: *mut ffi::rd_kafka_t, names: &[&str], bound: Duration) -> KafkaResult<Vec<Description>> {
    let failed = || KafkaError::AdminOp(RDKafkaErrorCode::Fail);
    let names = names
        .iter()
        .map(|&name| CString::new(name))
        .collect::<Result<Vec<_>, _>>()?;
    let mut pointers: Vec<*const c_char> = names.iter().map(|name| name.as_ptr()).collect();
    let bound_ms = i32::try_from(bound.as_millis()).unwrap_or(i32::MAX - 1000);
    let mut words: [c_char; 128] = [0; 128];
    // SAFETY: the client is alive during the call: its owner is borrowed by the caller. Names and options are copied by the calls
    // they are given to; each object is given back once, the queue after what came from it; and the lists that the accessors return belong
    // to the event, which lives until the end of this function.
    unsafe {
        let topics = ffi::rd_kafka_TopicCollection_of_topic_names(pointers.as_mut_ptr(), pointers.len());
        let topics = Owned::new(topics, ffi::rd_kafka_TopicCollection_destroy).ok_or_else(failed)?;
        let options =
            ffi::rd_kafka_AdminOptions_new(client, ffi::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS);
        let options = Owned::new(options, ffi::rd_kafka_AdminOptions_destroy).ok_or_else(failed)?;
        ffi::rd_kafka_AdminOptions_set_request_timeout(options.ptr(), bound_ms.max(1), words.as_mut_ptr(), words.len());
        let queue = Owned::new(ffi::rd_kafka_queue_new(client), ffi::rd_kafka_queue_destroy).ok_or_else(failed)?;
        ffi::rd_kafka_DescribeTopics(client, topics.ptr(), options.ptr(), queue.ptr());
        // The request ends by itself in time; the rest is for the answer to be put together.
        let event = ffi::rd_kafka_queue_poll(queue.ptr(), bound_ms + 500);
        let timed_out = || KafkaError::AdminOp(RDKafkaErrorCode::OperationTimedOut);
        let event = Owned::new(event, ffi::rd_kafka_event_destroy).ok_or_else(timed_out)?;
        let code = RDKafkaErrorCode::from(ffi::rd_kafka_event_error(event.ptr()));
        if code != RDKafkaErrorCode::NoError {
            return Err(KafkaError::AdminOp(code));
        }
        let result = ffi::rd_kafka_event_DescribeTopics_result(event.ptr());
        if result.is_null() {
            return Err(failed());
        }
        let mut count = 0;
        let list = ffi::rd_kafka_DescribeTopics_result_topics(result, &mut count);
        let mut found = Vec::with_capacity(count);
        for index in 0..count {
            found.push(description(*list.add(index)));
        }
        Ok(found)
    }
}

/// # Safety
/// The topic is one of a list of a DescribeTopics event that is alive.
unsafe fn description(topic: *const ffi::rd_kafka_TopicDescription_t) -> Description {
    // SAFETY: by the caller's word the topic is valid, and what its accessors return is valid as long as it is.
    unsafe {
        let code = ffi::rd_kafka_error_code(ffi::rd_kafka_TopicDescription_error(topic));
        let id = ffi::rd_kafka_TopicDescription_topic_id(topic);
        let mut partitions = 0;
        let list = ffi::rd_kafka_TopicDescription_partitions(topic, &mut partitions);
        let is_led = |index| {
            let partition = *list.add(index);
            !ffi::rd_kafka_TopicPartitionInfo_leader(partition).is_null()
        };
        let word = |word: i64| u64::from_ne_bytes(word.to_ne_bytes());
        Description {
            name: CStr::from_ptr(ffi::rd_kafka_TopicDescription_name(topic))
                .to_string_lossy()
                .into_owned(),
            error: match RDKafkaErrorCode::from(code) {
                RDKafkaErrorCode::NoError => None,
                code => Some(code),
            },
            id: match id.is_null() {
                true => TopicId::default(),
                false => TopicId(
                    word(ffi::rd_kafka_Uuid_most_significant_bits(id)),
                    word(ffi::rd_kafka_Uuid_least_significant_bits(id)),
                ),
            },
            partitions,
            is_led: partitions > 0 && (0..partitions).all(is_led),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topics_bound_is_shared_by_its_partitions_and_lets_go_of_small_segments() {
        let policy = |max_age_s, max_bytes| Policy {
            kind: TopicKind::Log,
            retention: Retention { max_age_s, max_bytes },
        };
        let get = |settings: &[(&str, String)], key: &str| {
            settings
                .iter()
                .find(|(name, _)| *name == key)
                .map(|(_, value)| value.clone())
        };
        let bounded = settings(policy(Some(60), Some(32 << 20)), 2);
        assert_eq!(get(&bounded, "retention.ms").unwrap(), "60000");
        assert_eq!(get(&bounded, "retention.bytes").unwrap(), (16 << 20).to_string());
        assert_eq!(get(&bounded, "segment.bytes").unwrap(), (2 << 20).to_string());
        assert_eq!(get(&bounded, "segment.ms").unwrap(), "10000");
        let unbounded = settings(policy(None, None), 1);
        assert_eq!(get(&unbounded, "retention.ms").unwrap(), "-1");
        assert_eq!(get(&unbounded, "segment.bytes"), None);
    }

    #[test]
    fn another_topic_has_another_epoch_and_so_has_one_that_lost_its_end() {
        let id = TopicId(0x1234_5678_9abc_def0, 0x0fed_cba9_8765_4321);
        assert_eq!(id.epoch(0), id.epoch(0));
        assert_ne!(id.epoch(0), id.epoch(1));
        assert_ne!(id.epoch(0), TopicId(1, 2).epoch(0));
    }
}
