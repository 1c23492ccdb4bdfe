//! The program: arguments, logging, configuration, bind, run.

use std::io;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
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
    Serve(Box<cli::StaticArgs>),
    Publish(cli::Publish),
    Tail(cli::Tail),
    Config(cli::Config),
}

type Done = Result<(), Box<dyn std::error::Error>>;

fn main() -> ExitCode {
    logging::start();
    let done = match Arguments::parse().command {
        Command::Serve(arguments) => runtime().and_then(|runtime| runtime.block_on(serve(*arguments))),
        Command::Publish(publish) => publish.run().map_err(Into::into),
        Command::Tail(tail) => tail.run().map_err(Into::into),
        Command::Config(config) => match config.run() {
            Ok(code) => return code,
            Err(error) => Err(cli::CliError::Output(error).into()),
        },
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        // Who read what was printed has read enough.
        Err(error) if is_broken_pipe(&*error) => ExitCode::SUCCESS,
        Err(error) => {
            for line in error.to_string().lines() {
                eprintln!("freshet: {line}");
            }
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

async fn serve(arguments: cli::StaticArgs) -> Done {
    let config = arguments.load()?;
    // Before anybody can be told that the service runs: from then on it ends in order.
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let listener = TcpListener::bind(config.listen).await.map_err(|error| {
        format!(
            "cannot listen on {}: {error}; --listen names another address",
            config.listen
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
