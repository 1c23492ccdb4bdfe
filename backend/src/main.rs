//! The program: arguments, logging, configuration, bind, run.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use freshet::config::{Config, ConfigFile, Limits};
use freshet::{cli, logging};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};

/// Measures on your own machine what polling costs and what streaming buys.
#[derive(Debug, Parser)]
#[command(version, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the API, and the page where the binary carries it.
    Serve(Serve),
    Publish(cli::Publish),
    Tail(cli::Tail),
}

#[derive(Debug, Args)]
struct Serve {
    /// A file with what is set here and more, such as the engines (TOML); flags and the environment win over it.
    #[arg(long, env = "FRESHET_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where to listen; anything but a loopback address needs --admin-token.
    #[arg(
        long,
        env = "FRESHET_LISTEN",
        default_value = "127.0.0.1:3000",
        value_name = "ADDRESS:PORT"
    )]
    listen: SocketAddr,
    /// The folder for what must survive the process.
    #[arg(long, env = "FRESHET_DATA", default_value = "freshet-data", value_name = "DIR")]
    data: PathBuf,
    /// The name of this node; by default one that is kept in the data folder.
    #[arg(long, env = "FRESHET_NODE_ID", value_name = "NAME")]
    node_id: Option<String>,
    /// Another origin whose page reaches this service, by a proxy or by WebSocket (repeat for more). No CORS headers are sent.
    #[arg(long, env = "FRESHET_ALLOW_ORIGIN", value_delimiter = ',', value_name = "ORIGIN")]
    allow_origin: Vec<String>,
    /// A name under which the service may be addressed, beside the loopback ones (repeat for more).
    #[arg(long, env = "FRESHET_ALLOW_HOST", value_delimiter = ',', value_name = "NAME")]
    allow_host: Vec<String>,
    /// Asked for by everything that changes something. On the command line others can see it: prefer the environment.
    #[arg(long, env = "FRESHET_ADMIN_TOKEN", hide_env_values = true, value_name = "TOKEN")]
    admin_token: Option<String>,
}

type Done = Result<(), Box<dyn std::error::Error>>;

fn main() -> ExitCode {
    logging::start();
    let done = match Arguments::parse().command {
        Command::Serve(arguments) => runtime().and_then(|runtime| runtime.block_on(serve(arguments))),
        Command::Publish(publish) => publish.run().map_err(Into::into),
        Command::Tail(tail) => tail.run().map_err(Into::into),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        // Who read what was printed has read enough.
        Err(error) if is_broken_pipe(&*error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("freshet: {error}");
            ExitCode::FAILURE
        }
    }
}

fn runtime() -> Result<Runtime, Box<dyn std::error::Error>> {
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().build()?)
}

fn is_broken_pipe(error: &(dyn std::error::Error + 'static)) -> bool {
    matches!(error.downcast_ref(), Some(cli::CliError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe)
}

async fn serve(arguments: Serve) -> Done {
    let file = arguments
        .config
        .as_deref()
        .map(ConfigFile::read)
        .transpose()?
        .unwrap_or_default();
    let config = Config {
        data: arguments.data,
        node_id: arguments.node_id,
        allow_origins: arguments.allow_origin,
        allow_hosts: arguments.allow_host,
        admin_token: arguments.admin_token.filter(|token| !token.is_empty()),
        pubsub: file.pubsub,
        limit: file.limit,
        election: file.election,
        settings: file.settings,
        limits: Limits::default(),
    };
    config.check(arguments.listen)?;
    // Before anybody can be told that the service runs: from then on it ends in order.
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let listener = TcpListener::bind(arguments.listen).await.map_err(|error| {
        format!(
            "cannot listen on {}: {error}; --listen names another address",
            arguments.listen
        )
    })?;
    let shutdown = async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        tracing::info!("asked to stop");
    };
    Ok(freshet::run(listener, config, shutdown).await?)
}
