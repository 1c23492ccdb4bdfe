//! Kafka, against a real broker.

use std::collections::BTreeMap;
use std::sync::Arc;

use freshet::config::KafkaConfig;
use freshet::pubsub::PubSub;
use freshet::pubsub::contract::Harness;
use freshet::pubsub::kafka::Kafka as Engine;
use freshet_tests::SOON;
use freshet_tests::kafka::Kafka;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
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
        Arc::new(Engine::open(&config(self.brokers().await), "node-1").unwrap())
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
