//! Kafka, against a real broker.

mod fence;
mod foreign;
mod load;
mod outage;
mod roam;
mod topics;

use std::collections::BTreeMap;
use std::sync::Arc;

use freshet::config::KafkaConfig;
use freshet::pubsub::contract::{Collector, Harness, soon};
use freshet::pubsub::kafka::Kafka as Engine;
use freshet::pubsub::{PubSub, TopicSpec};
use freshet_tests::SOON;
use freshet_tests::kafka::Kafka;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::topic_partition_list::Offset;
use rdkafka::{ClientConfig, TopicPartitionList};
use tokio::sync::Mutex;

mod contract {
    freshet::pubsub_contract!(super::harness);
}

/// A broker, and how Freshet uses it.
enum Cluster {
    Shared(&'static Kafka),
    Own(Mutex<Kafka>),
}

/// A broker of its own for a test that ends it.
async fn harness(promise: &str) -> Cluster {
    match promise.contains("restart") {
        true => Cluster::Own(Mutex::new(Kafka::start().await)),
        false => Cluster::Shared(Kafka::shared().await),
    }
}

impl Cluster {
    async fn brokers(&self) -> String {
        match self {
            Self::Shared(kafka) => kafka.brokers(),
            Self::Own(kafka) => kafka.lock().await.brokers(),
        }
    }
}

impl Harness for Cluster {
    async fn open(&self) -> Arc<dyn PubSub> {
        open(&config(self.brokers().await))
    }

    async fn restart_server(&self) -> bool {
        let Self::Own(kafka) = self else {
            panic!("others use this broker");
        };
        let mut kafka = kafka.lock().await;
        kafka.kill().await;
        kafka.start_again().await;
        true
    }

    async fn forget(&self, _engine: &Arc<dyn PubSub>, topic: &str, first: u64) -> bool {
        delete_records(&self.brokers().await, &format!("freshet.{topic}"), first).await;
        true
    }
}

fn config(brokers: String) -> KafkaConfig {
    KafkaConfig {
        brokers,
        prefix: "freshet.".to_owned(),
        watch: Vec::new(),
        partitions: 1,
        replication: 1,
        properties: BTreeMap::new(),
    }
}

fn open(config: &KafkaConfig) -> Arc<dyn PubSub> {
    Arc::new(Engine::open(config, "node-1").unwrap())
}

async fn open_with(engine: &Arc<dyn PubSub>, spec: TopicSpec) -> Arc<Collector> {
    let sink = Arc::new(Collector::default());
    soon("the topic to open", async || {
        engine.open(spec.clone(), sink.clone()).await
    })
    .await;
    sink
}

fn admin(brokers: &str) -> AdminClient<DefaultClientContext> {
    ClientConfig::new().set("bootstrap.servers", brokers).create().unwrap()
}

fn options() -> AdminOptions {
    AdminOptions::new()
        .request_timeout(Some(SOON))
        .operation_timeout(Some(SOON))
}

/// Has the broker let go of what stands before this offset of partition 0.
async fn delete_records(brokers: &str, topic: &str, first: u64) {
    let mut before = TopicPartitionList::new();
    before
        .add_partition_offset(topic, 0, Offset::Offset(i64::try_from(first).unwrap()))
        .unwrap();
    let done = admin(brokers).delete_records(&before, &options()).await.unwrap();
    done.find_partition(topic, 0).unwrap().error().unwrap();
}

async fn make_topic(brokers: &str, topic: &str, partitions: i32) {
    let new = NewTopic::new(topic, partitions, TopicReplication::Fixed(1));
    let made = admin(brokers).create_topics([&new], &options()).await.unwrap();
    made[0].as_ref().unwrap();
}

/// Somebody else's producer.
fn producer(brokers: &str, properties: &[(&str, &str)]) -> FutureProducer {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers).set("acks", "all");
    for (key, value) in properties {
        config.set(*key, *value);
    }
    config.create().unwrap()
}

async fn produce(producer: &FutureProducer, topic: &str, partition: i32, key: Option<&str>, value: Option<&[u8]>) {
    let mut record = FutureRecord::<str, [u8]>::to(topic).partition(partition);
    (record.key, record.payload) = (key, value);
    producer.send(record, SOON).await.unwrap();
}
