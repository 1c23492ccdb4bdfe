//! Kafka beneath the page.

use freshet_tests::kafka::Kafka;

use super::{goes_on_by_itself, reading, says_that_it_is_down};

#[tokio::test]
async fn a_broker_that_is_away_is_said_on_the_page_which_goes_on_when_it_is_back() {
    let mut kafka = Kafka::start().await;
    let config = format!("[pubsub]\nengine = 'kafka'\nbrokers = '{}'", kafka.brokers());
    let mut page = reading(&config).await;
    kafka.kill().await;
    let words = ["no broker answers", "what is published waits 30 s at most"];
    says_that_it_is_down(&mut page, "Kafka", &words).await;
    kafka.start_again().await;
    goes_on_by_itself(&mut page).await;
}
