use std::collections::BTreeSet;
use std::path::Path;

use freshet_wire::{ConfigSource, OnFailure};
use serde_json::Value;
use tempfile::TempDir;

use super::*;
use crate::cli::seeds;

/// Reads a file of this name and text, these variables and these flags.
fn read(name: &str, text: &str, variables: &[(&str, &str)], set: &[(&str, &str)]) -> Result<Config, Faults> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(name);
    std::fs::write(&file, text).unwrap();
    load(&sources(Some(&file), variables, set), seeds())
}

fn sources(file: Option<&Path>, variables: &[(&str, &str)], set: &[(&str, &str)]) -> Sources {
    Sources {
        file: file.map(Path::to_owned),
        folder: None,
        environment: variables
            .iter()
            .map(|&(name, value)| (name.into(), value.into()))
            .collect(),
        flags: set
            .iter()
            .map(|&(key, value)| Flag {
                flag: format!("--set {key}"),
                key: key.to_owned(),
                given: Given::Text(value.to_owned()),
            })
            .collect(),
    }
}

fn toml(text: &str) -> Result<Config, Faults> {
    read("freshet.toml", text, &[], &[])
}

/// What is wrong, without the folder.
fn wrong(name: &str, text: &str, variables: &[(&str, &str)], set: &[(&str, &str)]) -> Vec<String> {
    let faults = read(name, text, variables, set).unwrap_err();
    let short = |fault: &Fault| {
        let fault = fault.to_string();
        fault.find(name).map_or(fault.clone(), |at| fault[at..].to_owned())
    };
    faults.0.iter().map(short).collect()
}

/// All that is told, but the time.
fn told(config: &Config) -> String {
    let mut config = config.clone();
    config.stated.read_us = 0;
    config.stated.file = None;
    for key in config.stated.keys.iter_mut().chain(&mut config.seeded) {
        key.source = ConfigSource::Default;
    }
    config.seeded.clear();
    format!("{config:#?}")
}

#[test]
fn nothing_at_all_is_the_default() {
    let config = load(&Sources::default(), seeds()).unwrap();
    assert_eq!(told(&config), told(&Config::default()));
    assert!(config.stated.keys.iter().all(|key| key.source == ConfigSource::Default));
    assert_eq!(told(&toml("").unwrap()), told(&Config::default()));
    assert_eq!(told(&toml("[pubsub]\n[seed]\n").unwrap()), told(&Config::default()));
}

#[test]
fn a_file_names_the_engines_and_their_settings() {
    let kafka = toml("[pubsub]\nengine = 'kafka'\nbrokers = 'k:9092'\nproperties = {'sasl.username' = 'u'}").unwrap();
    let PubSub::Kafka(kafka) = kafka.pubsub else {
        panic!("{kafka:?}")
    };
    assert_eq!(
        (&*kafka.brokers, &*kafka.prefix, kafka.partitions),
        ("k:9092", "freshet.", 1)
    );
    assert_eq!(kafka.properties["sasl.username"], "u");
    let cloud = toml(
        "[pubsub]\nengine = 'cloud-pubsub'\nproject = 'p'\nspool = {max_topics = 70}\n[seed.retention]\nmax_age_s = 61",
    )
    .unwrap();
    let PubSub::CloudPubSub(cloud) = cloud.pubsub else {
        panic!("{cloud:?}")
    };
    assert_eq!(
        (&*cloud.project, &*cloud.prefix, &cloud.emulator),
        ("p", "freshet.", &None)
    );
    assert_eq!((cloud.spool.max_topics, cloud.spool.max_age_s), (70, 61));
    let limit = "[limit]\nengine = 'redis'\ntrusted_proxies = ['10.0.0.0/8']\n[limit.redis]\nurl = 'rediss://r'\non_failure = 'closed'";
    let limit = toml(limit).unwrap().limit;
    assert_eq!(
        (limit.engine, limit.redis.on_failure),
        (LimitEngine::Redis, OnFailure::Closed)
    );
    assert!(limit.trusted_proxies[0].contains([10, 1, 2, 3].into()));
    let servers = "[election]\nengine = 'zookeeper'\nservers = ['zk-1', '10.0.0.2:2182', '[::1]:2181', '[::1]']\n";
    let Election::ZooKeeper(config) = toml(servers).unwrap().election else {
        panic!()
    };
    assert_eq!((&*config.path, config.session_timeout_s), ("/freshet", 6));
    let user = format!("{servers}path = '/a/b'\nuser = 'u'\npassword = 'secret'\n[seed.election]\nlease_ttl_s = 10");
    let Election::ZooKeeper(config) = toml(&user).unwrap().election else {
        panic!()
    };
    assert_eq!((&*config.path, config.session_timeout_s), ("/a/b", 10));
    assert!(!format!("{config:?}").contains("secret"));
    let etcd = "[election]\nengine = 'etcd'\nendpoints = ['https://e:2379']\ntls = {ca = 'ca.pem'}\n[seed]\nelection.lease_ttl_s = 2";
    let Election::Etcd(config) = toml(etcd).unwrap().election else {
        panic!()
    };
    assert_eq!((config.ttl_s, config.tls.unwrap().ca), (2, PathBuf::from("ca.pem")));
    let bounds = toml("[bounds]\nwindow_bytes = 1048576\nheartbeat_ms = 200")
        .unwrap()
        .limits;
    assert_eq!((bounds.window_bytes, bounds.heartbeat.as_millis()), (1 << 20, 200));
}

#[test]
fn the_environment_goes_before_the_file_and_a_flag_before_both() {
    let file = "listen = '127.0.0.1:1'\ndata = 'a'\nallow_host = ['a.example']\n[election]\nnodes = 1\n[bounds]\nreaders = 20\n";
    let variables = [
        ("FRESHET_LISTEN", "127.0.0.1:2"),
        ("FRESHET_DATA", "b"),
        ("FRESHET_ELECTION__NODES", "5"),
        ("FRESHET_ALLOW_HOST", "b.example, c.example"),
        ("FRESHET_ADMIN_TOKEN", ""),
        ("FRESHET_SEED__SOURCE__CPU_HZ", "2.5"),
        ("FRESHET_LOG", "warn"),
        ("FRESHET_PORT", "x"),
        ("FRESHET_SERVICE_PORT_3000_TCP", "x"),
        ("OTHER__ONE", "x"),
    ];
    let config = read("freshet.toml", file, &variables, &[("listen", "127.0.0.1:3")]).unwrap();
    assert_eq!((config.listen.port(), config.data.to_str()), (3, Some("b")));
    assert_eq!(config.election, Election::Raft(RaftConfig { nodes: 5 }));
    assert_eq!(config.allow_hosts, ["b.example", "c.example"]);
    assert_eq!((config.admin_token.as_deref(), config.limits.readers), (None, 20));
    assert_eq!((config.seed.source.cpu_hz, &*config.seed.log.filter), (2.5, "warn"));
    let source = |name: &str| {
        let key = config.stated.keys.iter().find(|key| key.key == name).unwrap();
        Place(&key.source).to_string()
    };
    assert_eq!(source("listen"), "--set listen");
    assert_eq!(source("data"), "FRESHET_DATA");
    assert_eq!(source("election.nodes"), "FRESHET_ELECTION__NODES");
    assert!(
        source("bounds.readers").ends_with("freshet.toml:7"),
        "{}",
        source("bounds.readers")
    );
    assert_eq!(source("bounds.requests"), "default");
    assert!(config.stated.file.unwrap().ends_with("freshet.toml"));
}

#[test]
fn what_is_wrong_is_told_with_line_key_reason_and_what_would_be_right() {
    for (text, expected) in [
        ("[pubsub", "freshet.toml:1: "),
        (
            "\n[limit]\ntrusted_proxies = ['10.0.0.0/33']",
            "freshet.toml:3: limit.trusted_proxies: \"10.0.0.0/33\" is not a network",
        ),
        (
            "[limit]\nforwarded_header = 'x-real-ip'",
            "freshet.toml:2: limit.forwarded_header: \"x-real-ip\" is none of its choices; limit.forwarded_header takes one of x-forwarded-for, forwarded",
        ),
        (
            "[pubsub]\nengine = 'kafka'",
            "freshet.toml:2: pubsub.brokers: it is missing, and pubsub.engine = \"kafka\" needs it; such as \"kafka-1:9092",
        ),
        (
            "[pubsub]\nengine = 'cloud-pubsub'",
            "freshet.toml:2: pubsub.project: it is missing",
        ),
        (
            "[pubsub]\nmax_topisc = 20",
            "freshet.toml:2: pubsub.max_topisc: there is no such key; did you mean pubsub.max_topics?",
        ),
        (
            "[pubsub]\nendpoints = 20",
            "freshet.toml:2: pubsub.endpoints: there is no such key; did you mean election.endpoints?",
        ),
        (
            "[pubsup]\n",
            "freshet.toml:1: pubsup: there is no such key; did you mean pubsub?",
        ),
        (
            "lisen = 'x'\n",
            "freshet.toml:1: lisen: there is no such key; did you mean listen?",
        ),
        (
            "[pubsub]\nengine = 'memory'\nmax_topics = 20",
            "freshet.toml:3: pubsub.max_topics: pubsub.engine is \"memory\", which has no such key; leave it out, or set pubsub.engine to \"log\"",
        ),
        (
            "[pubsub]\nbrokers = 'k'",
            "freshet.toml:2: pubsub.brokers: pubsub.engine is \"log\"",
        ),
        (
            "[pubsub]\nengine = 'rabbit'\nbrokers = 'k'",
            "freshet.toml:2: pubsub.engine: \"rabbit\" is none of its choices; pubsub.engine takes one of log, memory, kafka, cloud-pubsub",
        ),
        (
            "[pubsub]\nengine = 'log'\nmax_topics = 'many'",
            "freshet.toml:3: pubsub.max_topics: is a text; pubsub.max_topics takes a whole number, 16 to 100000 topics",
        ),
        (
            "[pubsub]\nmax_topics = 1",
            "freshet.toml:2: pubsub.max_topics: 1 is out of its bounds",
        ),
        (
            "[pubsub]\nmax_bytes = 1",
            "freshet.toml:2: pubsub.max_bytes: there is no such key; it is a live setting, and a file only seeds those: seed.retention.max_bytes would be right",
        ),
        (
            "[limit]\nexempt = ['10.0.0.0/8']",
            "freshet.toml:2: limit.exempt: there is no such key; it is a live setting, and a file only seeds those: seed.limit.exempt would be right",
        ),
        (
            "[source]\ncpu_hz = 1",
            "freshet.toml:1: source: there is no such key; it is a live setting",
        ),
        (
            "[limit]\nredis.prefix = 'x'",
            "freshet.toml:2: limit.redis.prefix: limit.engine is \"embedded\"",
        ),
        (
            "[election]\nengine = 'raft'\nnodes = 2",
            "freshet.toml:3: election.nodes: a cluster has 1, 3 or 5 nodes, not 2",
        ),
        (
            "[election]\nengine = 'etcd'",
            "freshet.toml:2: election.endpoints: it is missing",
        ),
        (
            "[election]\nengine = 'etcd'\nendpoints = []",
            "freshet.toml:3: election.endpoints: one member at least",
        ),
        (
            "[election]\nengine = 'etcd'\nendpoints = ['http://e']\nttl_s = 0",
            "freshet.toml:4: election.ttl_s: there is no such key; it is a live setting, and a file only seeds those: seed.election.lease_ttl_s would be right",
        ),
        (
            "[election]\nengine = 'etcd'\nendpoints = ['http://e']\nuser = 'u'",
            "freshet.toml:4: election.password: it is missing, and there is a user",
        ),
        (
            "[election]\nengine = 'etcd'\nendpoints = ['http://e']\ntls.cert = 'c'\ntls.ca = 'a'",
            "freshet.toml:4: election.tls.key: it is missing",
        ),
        (
            "[election]\nengine = 'etcd'\nendpoints = ['http://e']\ntls.server_name = 'c'",
            "freshet.toml:4: election.tls.ca: it is missing",
        ),
        (
            "[election]\nengine = 'zookeeper'",
            "freshet.toml:2: election.servers: it is missing",
        ),
        (
            "[election]\nengine = 'zookeeper'\nservers = ['a:b']",
            "freshet.toml:3: election.servers: \"a:b\" is not HOST:PORT",
        ),
        (
            "[election]\nengine = 'zookeeper'\nservers = ['a:2181,b:2181']",
            "freshet.toml:3: election.servers: ",
        ),
        (
            "[election]\nengine = 'zookeeper'\nservers = ['::1']",
            "freshet.toml:3: election.servers: ",
        ),
        (
            "[election]\nengine = 'zookeeper'\nservers = ['a']\npath = 'freshet'",
            "freshet.toml:4: election.path: \"freshet\" is not /NAME",
        ),
        (
            "[election]\nengine = 'zookeeper'\nservers = ['a']\npath = '/a/../b'",
            "freshet.toml:4: election.path: ",
        ),
        (
            "[election]\nengine = 'zookeeper'\nservers = ['a']\nsession_timeout_s = 0",
            "freshet.toml:4: election.session_timeout_s: there is no such key; it is a live setting",
        ),
        (
            "[election]\nengine = 'zookeeper'\nservers = ['a']\nuser = 'u:v'\npassword = 'p'",
            "freshet.toml:4: election.user: there is a ':' in it",
        ),
        (
            "[election]\nengine = 'zookeeper'\nservers = ['a']\npassword = 'p'",
            "freshet.toml:4: election.user: it is missing",
        ),
        (
            "listen = '0.0.0.0:1'",
            "freshet.toml:1: listen: 0.0.0.0:1 can be reached from other machines",
        ),
        (
            "listen = 'here'",
            "freshet.toml:1: listen: \"here\" is no address with a port",
        ),
        (
            "admin_token = 'short'",
            "freshet.toml:1: admin_token: it is shorter than 16 characters",
        ),
        ("admin_token = '••••'", "freshet.toml:1: admin_token: "),
        (
            "node_id = 'a b'",
            "freshet.toml:1: node_id: \"a b\" is not 1 to 64 letters",
        ),
        (
            "allow_origin = ['*']",
            "freshet.toml:1: allow_origin: \"*\" is not an origin",
        ),
        (
            "allow_origin = 'http://a'",
            "freshet.toml:1: allow_origin: is a text; allow_origin takes a list of texts",
        ),
        ("data = ''", "freshet.toml:1: data: it is empty"),
        ("election = 1", "freshet.toml:1: election: it is a section, not a value"),
        (
            "[bounds]\nsilence_ms = 5000",
            "freshet.toml:2: bounds.silence_ms: 5000 is no more than bounds.heartbeat_ms",
        ),
        (
            "[bounds]\nheartbeat_ms = 50000",
            "freshet.toml:2: bounds.silence_ms: 30000 is no more than",
        ),
        (
            "[bounds]\npublish_bytes = 2048",
            "freshet.toml:2: bounds.event_bytes: 1048576 is more than bounds.publish_bytes",
        ),
        (
            "[seed.source]\ncpu_hz = 100",
            "freshet.toml:2: seed.source.cpu_hz: 100 is out of its bounds; seed.source.cpu_hz takes 0 or 0.01 to 20 samples a second",
        ),
        (
            "[seed.source]\ncpu = 100",
            "freshet.toml:2: seed.source.cpu: there is no such key; here stand cpu_hz",
        ),
        (
            "[seed]\nlimit.denied = ['127.0.0.1']",
            "freshet.toml:2: seed.limit.denied: ",
        ),
        (
            "[seed]\nlimit.admin.burst.quota = 1",
            "freshet.toml:2: seed.limit.admin: ",
        ),
        (
            "[seed.log]\nfilter = 'freshet=loud'",
            "freshet.toml:2: seed.log.filter: ",
        ),
    ] {
        let faults = wrong("freshet.toml", text, &[], &[]);
        assert!(
            faults.len() == 1 && faults[0].starts_with(expected),
            "{text:?}: {faults:#?}"
        );
    }
}

#[test]
fn all_that_is_wrong_is_told_at_once_in_the_order_of_the_lines() {
    let text = "lisen: x\npubsub:\n  engine: kafka\n  partitions: 0\nelection:\n  nodes: [1]\n";
    let variables = [
        ("FRESHET_LIMIT__CLIENTS", "few"),
        ("FRESHET_LIMIT__CLIENT", "9"),
        ("FRESHET_BOUNDS__READERS", "1"),
    ];
    let faults = wrong(
        "freshet.yaml",
        text,
        &variables,
        &[("limit.engine", "rabbit"), ("nothing", "1")],
    );
    let begins = [
        "freshet.yaml:1: lisen: ",
        "freshet.yaml:4: pubsub.partitions: ",
        "freshet.yaml:6: election.nodes: ",
        "FRESHET_BOUNDS__READERS: bounds.readers: 1 is out of its bounds",
        "FRESHET_LIMIT__CLIENT: no key has this variable; did you mean FRESHET_LIMIT__CLIENTS?",
        "FRESHET_LIMIT__CLIENTS: limit.clients: \"few\" is no number",
        "--set limit.engine: limit.engine: \"rabbit\" is none of its choices",
        "--set nothing: nothing: there is no such key",
        "freshet.yaml:3: pubsub.brokers: it is missing",
    ];
    assert_eq!(faults.len(), begins.len(), "{faults:#?}");
    for (fault, begin) in faults.iter().zip(begins) {
        assert!(fault.starts_with(begin), "{fault}");
    }
}

#[test]
fn an_engine_that_is_chosen_above_the_file_leaves_what_the_file_says_of_another_out() {
    let file = "[pubsub]\nengine = 'kafka'\nbrokers = 'k:9092'\n";
    let config = read("freshet.toml", file, &[("FRESHET_PUBSUB__ENGINE", "memory")], &[]).unwrap();
    assert_eq!(config.pubsub, PubSub::Memory);
    assert!(!config.stated.keys.iter().any(|key| key.key == "pubsub.brokers"));
    // What is said beside it is at odds with it.
    let both = [("FRESHET_PUBSUB__ENGINE", "memory"), ("FRESHET_PUBSUB__BROKERS", "k:1")];
    let faults = wrong("freshet.toml", file, &both, &[]);
    assert!(
        faults.len() == 1 && faults[0].starts_with("FRESHET_PUBSUB__BROKERS: pubsub.brokers: "),
        "{faults:?}"
    );
}

#[test]
fn a_file_that_is_none_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let refusal = |file: &Path| load(&sources(Some(file), &[], &[]), seeds()).unwrap_err().to_string();
    let with = |name: &str, bytes: &[u8]| {
        let file = folder.path().join(name);
        std::fs::write(&file, bytes).unwrap();
        refusal(&file)
    };
    std::fs::create_dir(folder.path().join("folder.toml")).unwrap();
    assert!(refusal(&folder.path().join("folder.toml")).contains("it is a folder"));
    assert!(refusal(&folder.path().join("none.toml")).contains("none.toml: cannot be read"));
    assert!(with("a.conf", b"").contains(".toml, .yaml, .yml or .json would be right"));
    assert!(with("latin.toml", b"# one\n# \xe4\n").contains("latin.toml:2: it is not UTF-8"));
    assert!(with("long.json", &vec![b' '; 10 << 20]).contains("larger than 1 MiB"));
}

#[test]
fn in_a_folder_one_file_of_the_usual_name_is_read_and_two_are_refused() {
    let folder: TempDir = tempfile::tempdir().unwrap();
    let sources = Sources {
        folder: Some(folder.path().to_owned()),
        ..Sources::default()
    };
    assert_eq!(load(&sources, seeds()).unwrap().stated.file, None);
    std::fs::write(folder.path().join("freshet.yml"), "data: here\n").unwrap();
    let config = load(&sources, seeds()).unwrap();
    assert!(config.data.ends_with("here") && config.stated.file.unwrap().ends_with("freshet.yml"));
    std::fs::write(folder.path().join("freshet.json"), "{}").unwrap();
    let why = load(&sources, seeds()).unwrap_err().to_string();
    assert!(
        why.contains("freshet.yml") && why.contains("freshet.json") && why.contains("--config"),
        "{why}"
    );
}

#[test]
fn a_refusal_has_no_secret_in_it() {
    for text in [
        "admin_token = 'sesame'",
        "admin_token = ['sesame']",
        "admin_token = 'sesame",
        "[limit]\nengine = 'redis'\nredis.url = 'http://:sesame@h'",
        "[election]\nengine = 'etcd'\nendpoints = ['http://e']\npassword = 'sesame'",
    ] {
        let faults = wrong("freshet.toml", text, &[], &[]);
        assert!(!faults.join("\n").contains("sesame"), "{faults:?}");
    }
}

#[test]
fn a_key_is_static_or_dynamic() {
    let settings: BTreeSet<_> = seeds().settings.iter().map(|setting| &*setting.key).collect();
    for key in table() {
        let inner = format!("{}.", key.name);
        let clash = settings.iter().find(|setting| {
            **setting == key.name || setting.starts_with(&inner) || key.name.starts_with(&format!("{setting}."))
        });
        assert_eq!(clash, None, "{}", key.name);
        assert!(!key.is_seed(), "a seed has no place of its own: {}", key.name);
    }
}

/// The engines with which each key counts at least once.
const ENGINES: [&[(&str, &str)]; 4] = [
    &[],
    &[
        ("pubsub.engine", "kafka"),
        ("election.engine", "etcd"),
        ("limit.engine", "redis"),
    ],
    &[
        ("pubsub.engine", "cloud-pubsub"),
        ("election.engine", "zookeeper"),
        ("settings.engine", "etcd"),
    ],
    &[("pubsub.engine", "memory"), ("settings.engine", "zookeeper")],
];

/// A file whose keys are all taken out of their comments.
fn bare(text: &str) -> String {
    let lines = text.lines().map(|line| {
        let bare = line
            .strip_prefix('#')
            .filter(|rest| rest.starts_with(|c: char| c.is_ascii_lowercase()));
        bare.unwrap_or(line).to_owned() + "\n"
    });
    lines.collect()
}

/// The example as somebody would use it: these engines, and every key that they take.
pub(super) fn uncommented() -> Vec<String> {
    let bare = bare(&example(seeds().settings));
    let of = |engines: &[(&str, &str)]| {
        let mut section = String::new();
        let mut lines = Vec::new();
        for line in bare.lines() {
            if let Some(name) = line.strip_prefix('[') {
                section = name.trim_end_matches(']').to_owned() + ".";
            }
            let name = line.split(" = ").next().unwrap_or_default();
            let path = format!("{section}{name}");
            let chosen = |engine: &str| {
                engines
                    .iter()
                    .find(|(name, _)| *name == engine)
                    .map(|(_, value)| *value)
            };
            let of = key(&path).and_then(|key| key.of).is_none_or(|(engine, values)| {
                let default = key(engine).and_then(|key| key.default.as_str()).unwrap();
                values.contains(&chosen(engine).unwrap_or(default))
            });
            match chosen(&path) {
                Some(engine) => lines.push(format!("{name} = '{engine}'")),
                None if of => lines.push(line.to_owned()),
                None => {}
            }
        }
        lines.join("\n")
    };
    ENGINES.iter().map(|engines| of(engines)).collect()
}

#[test]
fn the_example_has_every_key_and_its_defaults() {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../assets/freshet.toml")).unwrap();
    assert!(
        text == example(seeds().settings),
        "`freshet config example > assets/freshet.toml` makes it anew"
    );
    assert_eq!(
        told(&toml(&text).unwrap()),
        told(&Config::default()),
        "as it stands it sets nothing"
    );
    // Uncommented, each key has the default of the table, or shows a value where there is none.
    let bare = bare(&text);
    let document: toml_edit::DocumentMut = bare.parse().unwrap();
    let mut left: BTreeSet<String> = BTreeSet::new();
    let all = table().iter().cloned().chain(seeds().settings.iter().map(Key::seed));
    for key in all {
        let item = key
            .name
            .split('.')
            .try_fold(document.as_item(), |item, name| item.get(name));
        assert!(item.is_some(), "{} is missing", key.name);
        left.insert(key.name);
    }
    let count = bare
        .lines()
        .filter(|line| !line.starts_with('#') && line.contains(" = "))
        .count();
    assert_eq!(count, left.len(), "there is one that the table has not");
    for (engines, text) in ENGINES.iter().zip(uncommented()) {
        let config = toml(&text).unwrap();
        for told in &config.stated.keys {
            let key = key(&told.key).unwrap();
            let is_engine = engines.iter().any(|(engine, _)| *engine == told.key);
            if !key.default.is_null() && !is_engine {
                assert_eq!(told.value, key.default, "{}", key.name);
            }
            assert!(
                matches!(told.source, ConfigSource::File { .. }),
                "{} is not set",
                key.name
            );
            left.remove(&told.key);
        }
        for told in &config.seeded {
            assert_eq!(told.value, told.default, "{}", told.key);
            left.remove(&told.key);
        }
    }
    assert_eq!(left, BTreeSet::new(), "never in force");
}

#[test]
fn what_is_printed_is_what_is_in_force_in_each_format() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("freshet.toml");
    let text = "node_id = 'n-1'\n[pubsub]\nengine = 'kafka'\nbrokers = 'k:1'\nproperties = {'sasl.password' = 'sesame', 'a.b' = 'c'}\n[seed.limit.stream-message]\nburst.quota = 7\n";
    std::fs::write(&file, text).unwrap();
    let variables = [
        ("FRESHET_ADMIN_TOKEN", "sesame-sesame-sesame"),
        ("FRESHET_ALLOW_HOST", "a.example,b.example"),
    ];
    let config = load(&sources(Some(&file), &variables, &[]), seeds()).unwrap();
    for (format, name) in [
        (Format::Toml, "p.toml"),
        (Format::Yaml, "p.yaml"),
        (Format::Json, "p.json"),
    ] {
        let printed = print(&config, format);
        assert!(!printed.contains("sesame"), "{printed}");
        if format != Format::Json {
            for told in [
                "FRESHET_ADMIN_TOKEN",
                "# FRESHET_ALLOW_HOST",
                "freshet.toml:1",
                "freshet.toml:3",
                "freshet.toml:7",
                "# default",
            ] {
                assert!(printed.contains(told), "{told}: {printed}");
            }
        }
        // Read again it is the same, but for the secrets, which are refused if somebody takes the masks for them.
        let faults = wrong(name, &printed, &[], &[]);
        assert!(faults.len() == 1 && faults[0].contains("admin_token"), "{faults:?}");
        let again = read(name, &printed.replace("••••", "sesame-sesame-sesame"), &[], &[]).unwrap();
        let values = |config: &Config| -> Vec<(String, Value)> {
            let keys = config.stated.keys.iter().chain(&config.seeded);
            keys.map(|key| (key.key.clone(), key.value.clone())).collect()
        };
        assert_eq!(values(&again), values(&config), "{format:?}");
        assert_eq!(again.seed.limit.stream_message.burst.quota, 7);
    }
}

#[test]
fn an_address_that_others_can_reach_needs_an_admin_token() {
    let check = |listen: &str, token: Option<&str>| {
        Config {
            admin_token: token.map(str::to_owned),
            ..Config::default()
        }
        .check(listen.parse().unwrap())
    };
    for open in ["0.0.0.0:3000", "[::]:3000", "192.0.2.1:80", "[::ffff:192.0.2.1]:80"] {
        assert!(matches!(check(open, None), Err(ConfigError::TokenNeeded(_))), "{open}");
        assert!(
            matches!(check(open, Some("short")), Err(ConfigError::TokenShort)),
            "{open}"
        );
        assert!(check(open, Some("a-token-long-enough")).is_ok(), "{open}");
    }
    for own in ["127.0.0.1:3000", "127.8.9.1:0", "[::1]:3000", "[::ffff:127.0.0.1]:1"] {
        assert!(check(own, None).is_ok(), "{own}");
    }
}

#[test]
fn what_is_not_an_origin_is_refused() {
    let check = |origin: &str| {
        Config {
            allow_origins: vec![origin.to_owned()],
            ..Config::default()
        }
        .check("127.0.0.1:1".parse().unwrap())
    };
    assert!(check("http://127.0.0.1:8080").is_ok());
    for wrong in ["127.0.0.1:8080", "http://x/", "http://x/y", "*", "null", "ftp://x", ""] {
        assert!(check(wrong).is_err(), "{wrong}");
    }
}
