//! What the process says of itself on standard error, and how much; the setting `log.filter` changes it while the process runs.

use std::fmt;
use std::io::{self, IsTerminal};
use std::sync::OnceLock;

use freshet_wire::LogSettings;
use tracing_subscriber::EnvFilter;

/// Changes the filter of the subscriber that [`start`] installed.
struct Filter(Box<dyn Fn(EnvFilter) + Send + Sync>);

static FILTER: OnceLock<Filter> = OnceLock::new();

impl fmt::Debug for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Filter")
    }
}

/// The filter until the settings are read, and what an empty store is filled with: the environment's `FRESHET_LOG`, where it is one.
pub fn first() -> String {
    let asked = std::env::var("FRESHET_LOG").ok();
    asked
        .filter(|text| !text.is_empty() && EnvFilter::builder().parse(text).is_ok())
        .unwrap_or_else(|| LogSettings::default().filter)
}

/// Installs the subscriber of this process, once.
pub fn start() {
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(first()))
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .with_filter_reloading();
    let handle = subscriber.reload_handle();
    let change = move |filter| {
        // The subscriber lives as long as the process.
        let _ = handle.reload(filter);
    };
    subscriber.init();
    let _ = FILTER.set(Filter(Box::new(change)));
}

/// Changes what is said from now on. Where somebody else installed the subscriber, as in a test, it is theirs.
pub(crate) fn set(settings: &LogSettings) {
    if let (Some(filter), Ok(asked)) = (FILTER.get(), EnvFilter::builder().parse(&settings.filter)) {
        (filter.0)(asked);
    }
}
