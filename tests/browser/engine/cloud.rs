//! Google Cloud Pub/Sub beneath the page.

use freshet_tests::cloud_pubsub::CloudPubSub;

use super::{goes_on_by_itself, reading, says_that_it_is_down};
use crate::topics::{fill, go};

#[tokio::test]
async fn a_service_that_is_away_is_said_on_the_page_which_goes_on_when_it_is_back() {
    let mut emulator = CloudPubSub::start().await;
    let config = format!(
        "[pubsub]\nengine = 'cloud-pubsub'\nproject = 'freshet-tests'\nemulator = '{}'",
        emulator.endpoint()
    );
    let mut page = reading(&config).await;
    emulator.kill();
    let words = ["Pub/Sub: ", "publishing is refused"];
    says_that_it_is_down(&mut page, "Google Cloud Pub/Sub", &words).await;
    // Whoever publishes nevertheless is told why not.
    go(&mut page, "view=topics&topic=orders").await;
    fill(&mut page, "#p-data", r#"{"n": 3}"#).await;
    page.browser.click(".publish button.go").await;
    let refused = "(it => it.includes('503') && it.includes('Pub/Sub'))(document.querySelector('.publish .actions .state').innerText)";
    page.browser.wait_for("the refusal", crate::page::MOVES, refused).await;
    emulator.start_again().await;
    goes_on_by_itself(&mut page).await;
}
