//! `freshet config`: what a configuration has in it, before a service is started with it.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};

use crate::config::{self, Config as Loaded, Faults, Flag, Format, Given, Seeds, Sources};
use crate::settings;

/// Flags that set keys of the static configuration.
#[derive(Debug, Default, Args)]
pub struct StaticArgs {
    /// A file with the static configuration (.toml, .yaml, .yml or .json); without it, freshet.toml, .yaml or .json in this folder, where there
    /// is one. The environment and flags go before it.
    #[arg(long, env = "FRESHET_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where to listen; anything but a loopback address needs --admin-token [env: FRESHET_LISTEN] [default: 127.0.0.1:3000]
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<std::net::SocketAddr>,
    /// The folder for what must survive the process [env: FRESHET_DATA] [default: freshet-data]
    #[arg(long, value_name = "DIR")]
    data: Option<String>,
    /// The name of this node; by default one that is kept in the data folder [env: FRESHET_NODE_ID]
    #[arg(long, value_name = "NAME")]
    node_id: Option<String>,
    /// Another origin whose page reaches this service, by a proxy or by WebSocket (repeat for more). No CORS headers are sent [env:
    /// FRESHET_ALLOW_ORIGIN]
    #[arg(long, value_delimiter = ',', value_name = "ORIGIN")]
    allow_origin: Vec<String>,
    /// A name under which the service may be addressed, beside the loopback ones (repeat for more) [env: FRESHET_ALLOW_HOST]
    #[arg(long, value_delimiter = ',', value_name = "NAME")]
    allow_host: Vec<String>,
    /// Asked for by everything that changes something. On the command line others can see it: prefer the environment [env:
    /// FRESHET_ADMIN_TOKEN]
    #[arg(long, value_name = "TOKEN")]
    admin_token: Option<String>,
    /// Any key of the static configuration, such as election.engine=etcd (repeat for more; `freshet config example` has them all)
    #[arg(long, value_name = "KEY=VALUE", value_parser = assignment)]
    set: Vec<(String, String)>,
}

fn assignment(text: &str) -> Result<(String, String), String> {
    let split = text.split_once('=').filter(|(key, _)| !key.trim().is_empty());
    let (key, value) = split.ok_or("KEY=VALUE is expected")?;
    Ok((key.trim().to_owned(), value.to_owned()))
}

impl StaticArgs {
    /// The static configuration of this process: these flags, its environment, and the file.
    pub fn load(self) -> Result<Loaded, Faults> {
        let text = |text: Option<String>| text.filter(|text| !text.is_empty()).map(Given::Text);
        let texts = |texts: Vec<String>| (!texts.is_empty()).then_some(Given::Texts(texts));
        let given = [
            ("--listen", "listen", text(self.listen.map(|listen| listen.to_string()))),
            ("--data", "data", text(self.data)),
            ("--node-id", "node_id", self.node_id.map(Given::Text)),
            ("--allow-origin", "allow_origin", texts(self.allow_origin)),
            ("--allow-host", "allow_host", texts(self.allow_host)),
            ("--admin-token", "admin_token", text(self.admin_token)),
        ];
        let given = given.into_iter().filter_map(|(flag, key, given)| {
            Some(Flag {
                flag: flag.to_owned(),
                key: key.to_owned(),
                given: given?,
            })
        });
        let set = self.set.into_iter().map(|(key, value)| Flag {
            flag: format!("--set {key}"),
            key,
            given: Given::Text(value),
        });
        let sources = Sources {
            file: self.config,
            folder: Some(".".into()),
            environment: std::env::vars_os().collect(),
            flags: given.chain(set).collect(),
        };
        config::load(&sources, seeds())
    }
}

/// The live settings, for who reads a static configuration.
pub fn seeds() -> Seeds<'static> {
    Seeds {
        settings: &settings::schema().keys,
        check: |seed| settings::check(seed).map_err(|refusal| (refusal.key, refusal.reason)),
    }
}

/// Says what a static configuration has in it.
#[derive(Debug, Args)]
pub struct Config {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Say what is wrong in a file, as FILE:LINE: key: why; what would be right. The environment counts as it does at a start.
    Check { file: PathBuf },
    /// What would be in force, and where each value comes from; secrets are masked.
    Print {
        #[command(flatten)]
        arguments: Box<StaticArgs>,
        #[arg(long, value_enum, default_value = "toml")]
        format: As,
    },
    /// An annotated file with every key and its default.
    Example,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum As {
    Toml,
    Yaml,
    Json,
}

impl Config {
    /// Writes to standard output what was asked for, or to standard error what is wrong.
    pub fn run(self) -> io::Result<ExitCode> {
        let said = match self.command {
            Command::Check { file } => {
                let name = file.display().to_string();
                let arguments = StaticArgs {
                    config: Some(file),
                    ..StaticArgs::default()
                };
                let set = |config: Loaded| {
                    let keys = config.stated.keys.iter().chain(&config.seeded);
                    let in_file = |source: &_| matches!(source, freshet_wire::ConfigSource::File { .. });
                    let count = keys.filter(|key| in_file(&key.source)).count();
                    format!("{name} is right, and sets {count} keys\n")
                };
                arguments.load().map(set)
            }
            Command::Print { arguments, format } => {
                let format = match format {
                    As::Toml => Format::Toml,
                    As::Yaml => Format::Yaml,
                    As::Json => Format::Json,
                };
                arguments.load().map(|config| config::print(&config, format))
            }
            Command::Example => Ok(config::example(&settings::schema().keys)),
        };
        match said {
            Ok(text) => {
                io::stdout().write_all(text.as_bytes())?;
                Ok(ExitCode::SUCCESS)
            }
            Err(faults) => {
                io::stderr().write_all(format!("{faults}\n").as_bytes())?;
                Ok(ExitCode::FAILURE)
            }
        }
    }
}
