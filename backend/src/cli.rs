//! The commands beside `serve`: those that talk to a service that runs, `freshet publish` and `freshet tail`, and `freshet config`.

mod config;
mod publish;
mod tail;

use std::time::Duration;

use clap::Args;
use freshet_wire::Problem;
use ureq::Agent;
use ureq::http::{Request, Response};

pub use config::{Config, StaticArgs, seeds};
pub use publish::Publish;
pub use tail::Tail;

/// How long an answer may take beyond the wait that was asked for.
const TIMEOUT: Duration = Duration::from_secs(40);
/// The longest pause between two tries.
const MOST_PAUSE: Duration = Duration::from_secs(5);
/// The longest that it waits for a quota, in seconds.
const MOST_WAIT_S: u64 = 60;
/// The largest answer: a page's bound, with room.
const MOST_ANSWER: u64 = 64 << 20;

/// Where the service is.
#[derive(Debug, Args)]
struct Target {
    /// The service's address.
    #[arg(
        long,
        env = "FRESHET_URL",
        default_value = "http://127.0.0.1:3000",
        value_name = "URL"
    )]
    url: String,
    /// The admin token, where the service asks for one.
    #[arg(long, env = "FRESHET_ADMIN_TOKEN", hide_env_values = true, value_name = "TOKEN")]
    admin_token: Option<String>,
}

/// Why a command ends without having done what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    #[error("--url {0:?}: only http:// is spoken here, such as http://127.0.0.1:3000")]
    Url(String),
    #[error("{name}: {error}")]
    File { name: String, error: std::io::Error },
    #[error("line {line} is not JSON: {error} (--text publishes each line as it is)")]
    NotJson { line: u64, error: serde_json::Error },
    #[error("{title}: {detail}", title = .0.title, detail = .0.detail.as_deref().unwrap_or_default())]
    Refused(Box<Problem>),
    #[error("the service answered {0}, which no Freshet does; is --url right?")]
    Foreign(u16),
    #[error("{url} cannot be reached: {error}")]
    Unreachable { url: String, error: ureq::Error },
    #[error("cannot write what was read: {0}")]
    Output(std::io::Error),
}

/// An answer's status and text.
struct Answer {
    status: u16,
    text: String,
}

/// Asks one service.
struct Client {
    agent: Agent,
    target: Target,
}

impl Client {
    fn new(mut target: Target) -> Result<Self, CliError> {
        if !target.url.starts_with("http://") {
            return Err(CliError::Url(target.url));
        }
        target.url.truncate(target.url.trim_end_matches('/').len());
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(TIMEOUT))
            .proxy(None)
            .build()
            .into();
        Ok(Self { agent, target })
    }

    /// The service's own address and this path.
    fn url(&self, path: &str) -> String {
        format!("{}/api/v1{path}", self.target.url)
    }

    /// Asks until there is an answer that is not "later". `patient` goes on for ever; else it gives up after some seconds.
    fn ask(&self, patient: bool, make: impl Fn() -> Request<Vec<u8>>) -> Result<Answer, CliError> {
        let mut pause = Duration::from_millis(100);
        let mut said = false;
        loop {
            let mut request = make();
            if let Some(token) = &self.target.admin_token
                && let Ok(value) = format!("Bearer {token}").parse()
            {
                request.headers_mut().insert("authorization", value);
            }
            let why = match self.agent.run(request).and_then(read) {
                Ok(answer) if answer.status != 503 && answer.status != 429 => return Ok(answer),
                Ok(answer) => match room_after(&answer) {
                    // That it says itself when there is room is no trouble, and is waited for.
                    Some(wait) => {
                        std::thread::sleep(wait);
                        continue;
                    }
                    None if !patient && pause >= MOST_PAUSE => return Err(refusal(&answer)),
                    None => refusal(&answer),
                },
                Err(error) => {
                    let url = self.target.url.clone();
                    let error = CliError::Unreachable { url, error };
                    if !patient && pause >= MOST_PAUSE {
                        return Err(error);
                    }
                    error
                }
            };
            if !std::mem::replace(&mut said, true) {
                eprintln!("freshet: {why}; trying again");
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(MOST_PAUSE);
        }
    }
}

fn read(mut response: Response<ureq::Body>) -> Result<Answer, ureq::Error> {
    let status = response.status().as_u16();
    let text = response.body_mut().with_config().limit(MOST_ANSWER).read_to_string()?;
    Ok(Answer { status, text })
}

/// When the quota has room again; `None` where it is not the quota, or so late that nobody wants to wait for it.
fn room_after(answer: &Answer) -> Option<Duration> {
    let problem: freshet_wire::Problem = serde_json::from_str(&answer.text).ok()?;
    let wait_s = problem.retry_after_s.filter(|_| answer.status == 429)?;
    (wait_s <= MOST_WAIT_S).then(|| Duration::from_secs(wait_s))
}

/// What the service said no with.
fn refusal(answer: &Answer) -> CliError {
    match serde_json::from_str(&answer.text) {
        Ok(problem) => CliError::Refused(problem),
        Err(_) => CliError::Foreign(answer.status),
    }
}

/// A part of a path or a query's value, percent-encoded.
fn encoded(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes())
        .collect::<String>()
        .replace('+', "%20")
}
