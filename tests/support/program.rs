//! The real program, as `make release` builds it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

use tempfile::TempDir;

use crate::SOON;
use crate::process::Process;

/// The binary that `FRESHET_BIN` names; without it these tests cannot run, and that is a failure.
pub fn binary() -> PathBuf {
    let path =
        std::env::var_os("FRESHET_BIN").expect("FRESHET_BIN names the binary; `make test` builds it and sets it");
    PathBuf::from(path)
}

/// `freshet serve` with these arguments and nothing of this process's own settings.
pub fn serve(data: &Path, listen: &str, arguments: &[&str]) -> Process {
    let mut command = Command::new(binary());
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("FRESHET_") {
            command.env_remove(name);
        }
    }
    command
        .args(["serve", "--listen", listen, "--data"])
        .arg(data)
        .args(arguments);
    Process::start(&mut command)
}

/// A program that listens.
#[derive(Debug)]
pub struct Program {
    pub address: SocketAddr,
    pub process: Process,
    pub data: TempDir,
    arguments: Vec<String>,
    /// Where its configuration file is, if it has one.
    config: Option<TempDir>,
}

impl Program {
    pub async fn start(arguments: &[&str]) -> Self {
        let data = tempfile::tempdir().unwrap();
        let mut process = serve(data.path(), "127.0.0.1:0", arguments);
        Self {
            address: listening(&mut process).await,
            process,
            data,
            arguments: arguments.iter().map(|&argument| argument.to_owned()).collect(),
            config: None,
        }
    }

    /// The same, with this static configuration (TOML).
    pub async fn configured(config: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("freshet.toml");
        std::fs::write(&path, config).unwrap();
        let mut program = Self::start(&["--config", path.to_str().unwrap()]).await;
        program.config = Some(folder);
        program
    }

    /// Asks it to stop, by SIGTERM, and waits for its end.
    pub async fn stop(&mut self) -> ExitStatus {
        self.process.terminate();
        self.process.ended(SOON).await
    }

    /// Starts it again after its end, on the same port and with the same data folder.
    pub async fn start_again(&mut self) {
        let arguments: Vec<&str> = self.arguments.iter().map(String::as_str).collect();
        self.process = serve(self.data.path(), &self.address.to_string(), &arguments);
        assert_eq!(listening(&mut self.process).await, self.address);
    }
}

async fn listening(process: &mut Process) -> SocketAddr {
    let address = process.says("listening on http://", SOON).await;
    address
        .trim()
        .parse()
        .unwrap_or_else(|error| panic!("{error}: {address:?}"))
}
