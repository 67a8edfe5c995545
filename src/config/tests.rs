//! Tests of the configuration as a whole.

use chrono::TimeDelta;
use secrecy::ExposeSecret;

use super::*;
use crate::domain::address::{ParseAddressError, encode_base58};
use crate::domain::amount::Amount;
use crate::domain::answer::AnswerPolicy;
use crate::domain::asset::TokenProgram;
use crate::domain::block::Level;

const MINIMAL: &str = include_str!("../../docs/config/minimal.toml");
const FULL: &str = include_str!("../../docs/config/full.toml");

/// Two keys that nobody uses.
const KEY: &str = "0x1111111111111111111111111111111111111111111111111111111111111111";
const OTHER_KEY: &str = "2222222222222222222222222222222222222222222222222222222222222222";

/// A network without a fault, to which a test adds one.
const NETWORK: &str = r#"
    [[networks]]
    id = "eip155:8453"
    rpc = ["http://127.0.0.1:8545"]
    signers = [{ name = "base-1", key = "env:BASE_SIGNER" }]
"#;

/// All networks in one variable.
const NETWORKS: &str = "[{id=\"eip155:8453\",rpc=[\"http://127.0.0.1:8545/?a=b\"],signers=[{key=\"env:BASE_SIGNER\"}],answer_at=[{below=\"1.00\",at=\"included\"},{at=\"safe\"}]}]";

fn environment(more: &[(&str, &str)]) -> Environment {
    let usual = [
        ("BASE_SIGNER", KEY),
        ("BASE_SIGNER_2", OTHER_KEY),
        ("SIGNER_TOKEN", "token"),
        ("SEI_SIGNER", OTHER_KEY),
        ("SECOND_NODE", "https://rpc.example/v2/abc"),
    ];
    usual.iter().chain(more).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn loaded(text: &str, variables: &[(&str, &str)]) -> Config {
    load_text(text, &environment(variables), SigningKeys::Wanted).unwrap()
}

/// Key and fault of each problem.
fn faults(text: &str, variables: &[(&str, &str)]) -> Vec<(String, Fault)> {
    let errors = load_text(text, &environment(variables), SigningKeys::Wanted).unwrap_err();
    errors.problems().iter().map(|problem| (problem.key.clone(), problem.fault.clone())).collect()
}

fn fault(text: &str) -> (String, Fault) {
    let faults = faults(text, &[]);
    assert_eq!(faults.len(), 1, "{faults:?}");
    faults.into_iter().next().unwrap()
}

/// The fault that one more line in the network makes.
fn network_fault(line: &str) -> (String, Fault) {
    fault(&format!("{NETWORK}\n{line}"))
}

fn at(key: &str, fault: Fault) -> (String, Fault) {
    (key.to_owned(), fault)
}

fn local_key(signer: &SignerConfig) -> &str {
    match &signer.key {
        Some(KeyConfig::Local(key)) => key.expose_secret(),
        key => panic!("{key:?}"),
    }
}

/// What only an EVM network has.
fn evm(network: &NetworkConfig) -> &EvmConfig {
    match &network.family {
        FamilyConfig::Evm(evm) => evm,
        FamilyConfig::Solana(_) => panic!("not an EVM network"),
    }
}

#[test]
fn two_networks_with_a_node_and_a_key_each_are_enough() {
    let config = loaded(MINIMAL, &[]);
    let [base, sei] = config.networks.as_slice() else { panic!("two networks") };

    assert_eq!(config.server.listen.to_string(), "127.0.0.1:4020");
    assert_eq!(config.server.public_url, "http://127.0.0.1:4020");
    assert_eq!(config.server.access, Access::Keys);
    assert_eq!(config.server.answer_within_v1, TimeDelta::seconds(60));
    let days = TimeDelta::days(90);
    assert_eq!(config.discovery, Discovery { list: Listing::Accounts, per_account_max: 100, forget_after: days });
    assert!(config.database.url.is_none());
    assert_eq!(config.log, Log { format: LogFormat::Json, filter: "info,h2=error".to_owned() });
    assert_eq!((base.network.as_str(), base.rpc[0].host()), ("eip155:8453", "mainnet.base.org"));
    assert_eq!((base.signers[0].name.as_str(), local_key(&base.signers[0])), ("signer-1", KEY));
    assert_eq!((base.assets.len(), base.assets[0].symbol.as_str()), (1, "USDC"));
    assert_eq!(base.answer, AnswerPolicy::always(Level::Included));
    assert_eq!((evm(base).finality, base.agree_above.as_ref()), (Finality::Tag, None));
    assert_eq!((base.lane.batch_max, base.lane.in_flight_max, base.lane.pace), (100, 8, TimeDelta::milliseconds(100)));
    assert_eq!((base.cost.payment_wei_max, base.cost.hourly.payer), (10_u128.pow(15), Some(5 * 10_u128.pow(16))));
    assert_eq!((evm(base).priority_fee_min_wei, evm(base).validity_slack), (1_000_000, TimeDelta::hours(1)));
    // A network of the OP stack has an oracle, and a network with a cheap coin has higher limits.
    assert!(evm(base).l1_fee_oracle.is_some() && evm(sei).l1_fee_oracle.is_none());
    assert_eq!(sei.cost.payment_wei_max, 10_u128.pow(17));
}

#[test]
fn whoever_names_no_file_is_told_that_what_is_missing_may_stand_in_one() {
    let unnamed = read(None, &environment(&[]), SigningKeys::Wanted).unwrap_err();
    assert_eq!(unnamed.problems().last().unwrap().fault, Fault::NoFile);
    assert!(
        unnamed
            .to_string()
            .ends_with("configuration: no file was named with --config, and the environment does not say everything")
    );
    let wrong = [("QUITTANCE_NETWORKS", NETWORKS), ("QUITTANCE_SERVER__LISTEN", "x")];
    let wrong = read(None, &environment(&wrong), SigningKeys::Wanted).unwrap_err();
    assert_eq!(wrong.problems().len(), 1, "{wrong}");
    assert!(!faults("", &[]).contains(&at("configuration", Fault::NoFile)));
}

#[test]
fn the_full_example_loads_and_leaves_no_key_out() {
    let environment = environment(&[]);
    let document = Document::merge(Some(File::named("full.toml", FULL)), &environment).unwrap();
    let report = Report::new(&document, &environment, SigningKeys::Wanted);

    let config = config(&Table::root(&document.tree, &report)).unwrap();

    // Items of lists stand for the key that holds them.
    for key in report.asked().into_iter().filter(|key| !key.ends_with(']')) {
        let name = key.rsplit('.').next().unwrap_or_default();
        let table = format!("[{}]", (0..9).fold(key.clone(), |key, index| key.replace(&format!("[{index}]"), "")));
        assert!(FULL.contains(&format!("{name} = ")) || FULL.contains(&table), "{key} is not in full.toml");
    }
    assert!(load_text(FULL, &environment, SigningKeys::Wanted).is_ok());
    let network = &config.networks[0];
    assert_eq!((network.rpc.len(), network.assets.len(), network.signers.len()), (2, 2, 5));
    assert_eq!(network.answer.level(Amount::new(100_000_000), 6), Level::Safe);
    assert_eq!(network.agree_above.as_deref(), Some("1000.00"));
}

#[test]
fn the_defaults_in_the_full_example_are_the_defaults() {
    let full = loaded(FULL, &[]);
    let default = loaded(&NETWORK.replace("8453", "84532"), &[]);

    let without_own = |config: &Config| {
        let mut config = config.clone();
        config.database.url = None;
        let network = &mut config.networks[0];
        network.answer = AnswerPolicy::always(Level::Included);
        (network.agree_above, network.genesis, network.start_block) = (None, None, None);
        if let FamilyConfig::Evm(evm) = &mut network.family {
            evm.ws.clear();
        }
        network.rpc.truncate(1);
        network.assets.truncate(1);
        network.signers.truncate(1);
        format!("{config:#?}")
    };
    assert_eq!(without_own(&full), without_own(&default));
}

#[test]
fn the_example_for_solana_shows_what_is_different_and_the_defaults() {
    let text = include_str!("../../docs/config/solana.toml");
    let key = encode_base58(&[7; 64]);
    let load =
        |text: &str| load_text(text, &environment(&[("SOLANA_SIGNER", &key)]), SigningKeys::Wanted).unwrap().networks.remove(0);
    let said = load(text);
    let minimal = "[[networks]]\nid = \"solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1\"\nrpc = \"http://127.0.0.1:8899\"\n\
                   [[networks.signers]]\nkey = \"env:SOLANA_SIGNER\"";
    let default = load(minimal);

    assert_eq!((said.assets.len(), said.assets[1].program()), (2, Some(TokenProgram::Token2022)));
    assert_eq!((default.assets.len(), default.assets[0].program()), (1, Some(TokenProgram::Token)));
    let limits =
        SolanaConfig { compute_units_max: 200_000, compute_price_max: 1_000_000, blocks_left_min: 20, watch: Watch::Blocks };
    for network in [&said, &default] {
        assert!(matches!(network.family, FamilyConfig::Solana(found) if found == limits));
    }
    assert_eq!((said.lane, said.poll_busy), (default.lane, default.poll_busy));
    let cost = |network: &NetworkConfig| format!("{:?}", network.cost);
    assert_eq!(cost(&said), cost(&default));
    assert_eq!(default.cost.payment_wei_max, 100_000, "lamports");
}

#[test]
fn how_solana_is_watched_is_one_of_three_words() {
    let key = encode_base58(&[7; 64]);
    let load = |word: &str| {
        let text = format!(
            "[[networks]]\nid = \"solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1\"\nrpc = \"http://127.0.0.1:8899\"\nwatch = {word:?}\n\
             [[networks.signers]]\nkey = \"env:SOLANA_SIGNER\""
        );
        load_text(&text, &environment(&[("SOLANA_SIGNER", &key)]), SigningKeys::Wanted)
            .map(|mut config| config.networks.remove(0).family)
    };

    for (word, expected) in [("blocks", Watch::Blocks), ("signatures", Watch::Signatures), ("off", Watch::Off)] {
        assert!(matches!(load(word), Ok(FamilyConfig::Solana(SolanaConfig { watch, .. })) if watch == expected), "{word}");
    }
    let errors = load("accounts").unwrap_err();
    let expected = [("networks[0].watch", Fault::Expected("blocks, signatures or off"))];
    assert_eq!(
        errors.problems().iter().map(|problem| (problem.key.as_str(), problem.fault.clone())).collect::<Vec<_>>(),
        expected
    );
}

#[test]
fn what_only_evm_networks_have_is_unknown_on_solana() {
    let solana = NETWORK.replace("eip155:8453", "solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1");
    let found = faults(&format!("{solana}\nfinal = 12\nbatch_max = 7\ngenesis = \"0x00\""), &[]);

    for (key, fault) in [
        ("final", Fault::Unknown),
        ("batch_max", Fault::Unknown),
        ("genesis", Fault::Expected("32 bytes in base58")),
        ("signers[0].key", Fault::Expected("a key of 64 bytes in base58, as wallets export it")),
    ] {
        assert!(found.contains(&at(&format!("networks[0].{key}"), fault)), "{key}: {found:?}");
    }
}

#[test]
fn every_problem_is_told_at_once_with_its_key_and_its_place() {
    let text = r#"
        colour = "red"

        [server]
        listen = "localhost"
        body_bytes_max = 12
        lsten = "127.0.0.1:1"

        [[networks]]
        id = "solana:mainnet"
        rpc = ["ftp://user:hunter2@rpc.example"]
        signers = [{ name = "Base 1", key = "env:NOT_THERE" }]
        cost = { payment_max = "a lot", payment_mx = "1" }
    "#;

    let errors =
        load_text(text, &environment(&[("QUITTANCE_LOG__FORMAT", "xml"), ("QUITTANCE_LOG__COLOUR", "red")]), SigningKeys::Wanted)
            .unwrap_err()
            .to_string();

    assert_eq!(
        errors.lines().collect::<Vec<_>>(),
        [
            "server.listen: expected an IP address and port such as 127.0.0.1:4020 (in configuration)",
            "server.body_bytes_max: must be between 1024 and 16777216 (in configuration)",
            "log.format: expected json or text (in QUITTANCE_LOG__FORMAT)",
            "networks[0].id: \"solana:mainnet\" is not a network identifier such as eip155:8453 (in configuration)",
            "networks[0].rpc[0]: expected a URL that begins with http:// or https:// (in configuration)",
            "networks[0].signers[0].name: expected 1 to 32 of a-z, 0-9 and - (in configuration)",
            "networks[0].signers[0].key: the environment variable NOT_THERE is not set (in configuration)",
            "networks[0].cost.payment_max: not a decimal integer without sign, spaces or leading zeros (in configuration)",
            "colour: unknown key (in configuration)",
            "log.colour: unknown key (in QUITTANCE_LOG__COLOUR)",
            "networks[0].cost.payment_mx: unknown key (in configuration)",
            "server.lsten: unknown key (in configuration)",
        ]
    );
}

#[test]
fn a_variable_wins_over_the_file_and_the_file_over_the_default() {
    let text = format!("[server]\nlisten = \"127.0.0.1:1\"\naccess = \"open\"\n{NETWORK}");
    let variables = [
        ("QUITTANCE_SERVER__LISTEN", "0.0.0.0:2"),
        ("QUITTANCE_DATABASE__URL", "postgres://db/quittance"),
        ("QUITTANCE_NETWORKS__0__RPC", "[\"http://127.0.0.1:1\", \"http://127.0.0.1:2\"]"),
        ("QUITTANCE_NETWORKS__0__AGREE_ABOVE", "100.00"),
        ("QUITTANCE_NETWORKS__0__COST__PAYER_HOURLY", "none"),
        ("QUITTANCE_NETWORKS__1__ID", "eip155:1329"),
        ("QUITTANCE_NETWORKS__1__RPC", "http://127.0.0.1:3"),
        ("QUITTANCE_NETWORKS__1__SIGNERS__0__KEY", OTHER_KEY),
    ];

    let config = loaded(&text, &variables);

    assert_eq!((config.server.listen.to_string().as_str(), config.server.access), ("0.0.0.0:2", Access::Open));
    assert_eq!(config.server.public_url, "http://127.0.0.1:2");
    assert!(config.database.url.is_some());
    assert_eq!((config.networks[0].rpc[1].host(), config.networks[0].agree_above.as_deref()), ("127.0.0.1:2", Some("100.00")));
    assert_eq!((config.networks[0].cost.hourly.payer, config.networks[0].cost.payment_wei_max), (None, 10_u128.pow(15)));
    assert_eq!((config.networks[1].network.as_str(), config.networks[1].cost.payment_wei_max), ("eip155:1329", 10_u128.pow(17)));
}

#[test]
fn variables_alone_are_enough() {
    let config = read(None, &environment(&[("QUITTANCE_NETWORKS", NETWORKS)]), SigningKeys::Wanted).unwrap();

    assert_eq!(config.networks[0].rpc[0].expose(), "http://127.0.0.1:8545/?a=b");
    assert_eq!(config.networks[0].answer.level(Amount::new(1_000_000), 6), Level::Safe);
}

#[test]
fn what_kubernetes_calls_a_service_is_not_a_setting() {
    loaded(NETWORK, &[("QUITTANCE_SERVICE_HOST", "10.0.0.1"), ("QUITTANCE_PORT", "tcp://10.0.0.1:4020")]);
}

#[test]
fn a_secret_may_stand_in_a_file() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), format!("{KEY}\n")).unwrap();
    let network = |more: &str| NETWORK.replace("key = \"env:BASE_SIGNER\"", &format!("key_file = {:?}{more}", file.path()));

    let config = loaded(&network(""), &[]);

    assert_eq!(local_key(&config.networks[0].signers[0]), KEY);
    assert_eq!(
        fault(&network(", key = \"env:BASE_SIGNER\"")),
        at("networks[0].signers[0].key_file", Fault::Conflict("networks[0].signers[0].key".to_owned()))
    );
    std::fs::write(file.path(), "\n").unwrap();
    assert_eq!(fault(&network("")), at("networks[0].signers[0].key_file", Fault::Empty));
}

#[test]
fn the_keys_of_receipts_are_a_secret_that_may_be_absent() {
    let ring = r#"{"keys":[{"kid":"a"}]}"#;
    let keys = |section: &str, variable: &str| {
        let config = loaded(&format!("{section}\n{NETWORK}"), &[(variable, ring)]);
        config.receipts.keys.map(|keys| keys.expose_secret().to_owned())
    };

    assert_eq!(keys("", "RECEIPT_KEYS"), None);
    assert_eq!(keys("[receipts]\nkeys = \"env:RECEIPT_KEYS\"", "RECEIPT_KEYS").as_deref(), Some(ring));
    assert_eq!(keys("", "QUITTANCE_RECEIPTS__KEYS").as_deref(), Some(ring), "JSON is a text here and not a table");
    let missing = Fault::VariableMissing("NOT_SET".to_owned());
    assert_eq!(fault(&format!("[receipts]\nkeys = \"env:NOT_SET\"\n{NETWORK}")), at("receipts.keys", missing));
}

#[test]
fn announcements_come_over_websocket_from_one_node_or_several() {
    let hosts = |line: &str| -> Vec<String> {
        let config = loaded(&format!("{NETWORK}\n{line}"), &[]);
        evm(&config.networks[0]).ws.iter().map(ToString::to_string).collect()
    };

    assert_eq!(hosts(""), [""; 0]);
    assert_eq!(hosts("ws = \"wss://rpc.example/v2/abc\""), ["wss://rpc.example"]);
    assert_eq!(hosts("ws = [\"ws://one:8546\", \"wss://two/key\"]"), ["ws://one:8546", "wss://two"]);
    let expected = Fault::Expected("a URL that begins with ws:// or wss://");
    assert_eq!(network_fault("ws = \"https://rpc.example\""), at("networks[0].ws", expected));
    let duplicate = Fault::Duplicate("networks[0].ws[0]".to_owned());
    assert_eq!(network_fault("ws = [\"ws://one\", \"ws://one\"]"), at("networks[0].ws[1]", duplicate));
}

#[test]
fn nodes_may_stand_in_a_file() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let network = NETWORK.replace("rpc = [\"http://127.0.0.1:8545\"]", &format!("rpc_file = {:?}", file.path()));

    std::fs::write(file.path(), "https://one.example/a\n\nhttps://two.example/b\n").unwrap();
    assert_eq!(loaded(&network, &[]).networks[0].rpc.len(), 2);

    std::fs::write(file.path(), "https://one.example/a\nhttps://one.example/a\n").unwrap();
    let duplicate = Fault::Duplicate("networks[0].rpc_file line 1".to_owned());
    assert_eq!(fault(&network), at("networks[0].rpc_file line 2", duplicate));
}

#[test]
fn what_a_network_needs_is_asked_for() {
    let faults = faults("[[networks]]\nid = \"eip155:31337\"", &[]);

    let expected =
        [at("networks[0].rpc", Fault::Empty), at("networks[0].signers", Fault::Empty), at("networks[0].assets", Fault::NoAssets)];
    assert_eq!(faults, expected);
    assert_eq!(fault(""), at("networks", Fault::Empty));
    // A network without tokens says nothing about how exact its bounds may be.
    let bounds = format!(
        "{}\nanswer_at = [{{ below = \"100.00\", at = \"included\" }}, {{ at = \"safe\" }}]",
        NETWORK.replace("8453", "31337")
    );
    assert_eq!(fault(&bounds), at("networks[0].assets", Fault::NoAssets));
}

#[test]
fn nothing_may_be_there_twice() {
    let twice = format!("{NETWORK}\n{NETWORK}");
    assert_eq!(fault(&twice), at("networks[1].id", Fault::Duplicate("networks[0].id".to_owned())));

    let rpc = NETWORK.replace("8545\"]", "8545\", \"http://127.0.0.1:8545\"]");
    assert_eq!(fault(&rpc), at("networks[0].rpc[1]", Fault::Duplicate("networks[0].rpc[0]".to_owned())));

    let spelled_otherwise = KEY.trim_start_matches("0x");
    let signers = NETWORK.replace("\" }]", &format!("\" }}, {{ name = \"base-1\", key = \"{spelled_otherwise}\" }}]"));
    let expected = [
        at("networks[0].signers[1].name", Fault::Duplicate("networks[0].signers[0].name".to_owned())),
        at("networks[0].signers[1].key", Fault::Duplicate("networks[0].signers[0].key".to_owned())),
    ];
    assert_eq!(faults(&signers, &[]), expected);
}

#[test]
fn a_listed_token_needs_what_is_not_known_of_it() {
    let known = "assets = [{ address = \"0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913\", symbol = \"USD\" }]";
    let unknown = "assets = [{ address = \"0x0000000000000000000000000000000000000e0c\", symbol = \"EURC\", decimals = 39 }]";

    let asset = loaded(&format!("{NETWORK}\n{known}"), &[]).networks[0].assets[0].clone();

    assert_eq!((asset.symbol.as_str(), asset.decimals, asset.domain().unwrap().name.as_str()), ("USD", 6, "USD Coin"));
    let expected = [
        at("networks[0].assets[0].decimals", Fault::OutOfRange { min: 0, max: 38 }),
        at("networks[0].assets[0].name", Fault::Missing),
        at("networks[0].assets[0].version", Fault::Missing),
    ];
    assert_eq!(faults(&format!("{NETWORK}\n{unknown}"), &[]), expected);
}

#[test]
fn weak_settings_are_refused() {
    let public_key = "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";
    let local = NETWORK.replace("env:BASE_SIGNER", public_key);
    let public = local.replace("http://127.0.0.1:8545", "https://mainnet.base.org");

    loaded(&local, &[]);
    assert_eq!(fault(&public), at("networks[0].signers[0].key", Fault::PublicKey));
    assert_eq!(network_fault("agree_above = \"100\""), at("networks[0].agree_above", Fault::NodesTooFew));
    assert_eq!(
        fault(&format!("[server]\nlisten = \"0.0.0.0:9464\"\n{NETWORK}")),
        at("server.operations_listen", Fault::SharedListener)
    );
    for (listen, key) in [("127.0.0.1:4020", "server.listen"), ("0.0.0.0:9464", "server.operations_listen")] {
        let text = format!("[server]\ngrpc_listen = \"{listen}\"\n{NETWORK}");
        assert_eq!(fault(&text), at("server.grpc_listen", Fault::Duplicate(key.to_owned())));
    }
    assert!(
        matches!(fault(&format!("[log]\nfilter = \"quittance=loud\"\n{NETWORK}")), (key, Fault::Filter(_)) if key == "log.filter")
    );
}

#[test]
fn tiers_must_cover_every_amount_once() {
    for tiers in [
        "[]",
        "[{ below = \"1\", at = \"included\" }]",
        "[{ at = \"included\" }, { at = \"safe\" }]",
        "[{ below = \"2\", at = \"included\" }, { below = \"1.5\", at = \"safe\" }, { at = \"final\" }]",
        "[{ below = \"2\", at = \"safe\" }, { at = \"included\" }]",
    ] {
        assert_eq!(network_fault(&format!("answer_at = {tiers}")), at("networks[0].answer_at", Fault::Tiers), "{tiers}");
    }
    assert_eq!(network_fault("answer_at = \"soon\""), at("networks[0].answer_at", Fault::Expected("included, safe or final")));
    let too_precise = Fault::Amount(crate::domain::amount::ParseAmountError::TooPrecise);
    assert_eq!(
        network_fault("answer_at = [{ below = \"0.0000001\", at = \"included\" }, { at = \"safe\" }]"),
        at("networks[0].answer_at[0].below", too_precise)
    );
}

#[test]
fn grpc_can_be_switched_off() {
    let listen = |line: &str| loaded(&format!("[server]\n{line}\n{NETWORK}"), &[]).server.grpc_listen;

    assert_eq!(listen(""), Some("127.0.0.1:4021".parse().unwrap()));
    assert_eq!(
        (listen("grpc_listen = \"0.0.0.0:50051\""), listen("grpc_listen = \"none\"")),
        (Some("0.0.0.0:50051".parse().unwrap()), None)
    );
    let wrong = format!("[server]\ngrpc_listen = \"off\"\n{NETWORK}");
    assert!(matches!(fault(&wrong), (key, Fault::Expected(_)) if key == "server.grpc_listen"));
}

#[test]
fn other_forms_are_read() {
    let more = "final = 12\nl1_fee_oracle = \"none\"\ngenesis = \"0xF712AA9241CC24369B143CF6DCE85F0902A9731E70D66818A3A5845B296C73DD\"\nstart_block = 7";

    let network = &loaded(&format!("{NETWORK}\n{more}"), &[]).networks[0];

    assert_eq!(
        (evm(network).finality, evm(network).l1_fee_oracle, network.start_block),
        (Finality::Confirmations(12), None, Some(7))
    );
    assert!(network.genesis.as_ref().is_some_and(|hash| hash.starts_with("0xf712")));
    assert_eq!(network_fault("final = 0"), at("networks[0].final", Fault::OutOfRange { min: 1, max: 1_000_000 }));
    assert_eq!(network_fault("genesis = \"0x12\""), at("networks[0].genesis", Fault::Expected("0x and 64 hexadecimal digits")));
    assert_eq!(
        network_fault("multicall = \"0xCA11bde05977b3631167028862bE2a173976CA11\""),
        at("networks[0].multicall", Fault::Address(ParseAddressError::Checksum))
    );
}

#[test]
fn no_message_and_no_debug_text_shows_a_secret() {
    let secret = "hunter2hunter2";
    let broken = [
        // A line that is not TOML would be quoted by the parser.
        format!("{NETWORK}\ngenesis = 0x{secret}"),
        NETWORK.replace("env:BASE_SIGNER", secret),
        NETWORK.replace("http://127.0.0.1:8545", secret),
        format!("[database]\nurl = \"mysql://root:{secret}@db\"\n{NETWORK}"),
    ];
    for text in broken {
        let errors = load_text(&text, &environment(&[]), SigningKeys::Wanted).unwrap_err();
        assert!(!format!("{errors} {errors:?}").contains(secret), "{errors}");
    }

    let config = loaded(
        &NETWORK.replace("8545", &format!("8545/{secret}")),
        &[("QUITTANCE_DATABASE__URL", &format!("postgres://u:{secret}@db/q"))],
    );
    let printed = format!("{config:?} {:?}", environment(&[("NAME", secret)]));
    assert!(!printed.contains(secret) && !printed.contains(&KEY[2..]), "{printed}");
}

#[test]
fn a_file_that_is_not_there_or_not_toml_is_named() {
    let missing = load(Some(Path::new("/nowhere/quittance.toml")), SigningKeys::Wanted).unwrap_err().to_string();
    let broken = load_text("[server\nlisten = 1", &Environment::default(), SigningKeys::Wanted).unwrap_err().to_string();

    assert!(missing.starts_with("/nowhere/quittance.toml: cannot be read: No such file"), "{missing}");
    assert!(broken.starts_with("configuration: not valid TOML: TOML parse error at line 1, column 8"), "{broken}");
}

/// The address of some account.
const ADDRESS: &str = "0x9d8A62f656a8d1615C1294fd71e9CFb3E4855A4F";

/// A network with one signer in these words.
fn signed_by(words: &str) -> String {
    NETWORK.replace("key = \"env:BASE_SIGNER\"", words)
}

#[test]
fn a_key_is_in_one_place_and_whoever_keeps_it_elsewhere_says_whose_it_is() {
    let signer = |key: &str| Fault::Conflict(format!("networks[0].signers[0].{key}"));
    let at_key = |key: &str, fault| at(&format!("networks[0].signers[0].{key}"), fault);
    let remote = r#"remote = { url = "https://signer.example/sign", key_id = "a" }"#;
    let gcp = r#"gcp_kms = { key_id = "projects/p/locations/l/keyRings/r/cryptoKeys/k/cryptoKeyVersions/1" }"#;
    let sealed = Fault::Expected("https://, or the address of a private network");

    let config = loaded(&signed_by(&format!("address = \"{ADDRESS}\", {remote}")), &[]);
    assert!(matches!(&config.networks[0].signers[0].key, Some(KeyConfig::Remote(remote)) if remote.token.is_none()));
    let config = loaded(&signed_by(&format!("address = \"{ADDRESS}\", {gcp}")), &[]);
    assert!(matches!(&config.networks[0].signers[0].key, Some(KeyConfig::GcpKms(_))));
    for (words, expected) in [
        (remote.to_owned(), at_key("address", Fault::Missing)),
        (format!("address = \"{ADDRESS}\", {remote}, {gcp}"), at_key("gcp_kms", signer("remote"))),
        (format!("address = \"{ADDRESS}\", {remote}, key = \"env:BASE_SIGNER\""), at_key("remote", signer("key"))),
        (format!("address = \"{ADDRESS}\", {}", remote.replace("https", "http")), at_key("remote.url", sealed)),
        (format!("address = \"{ADDRESS}\""), at_key("key", Fault::Missing)),
        (
            "address = \"0x00\", key = \"env:BASE_SIGNER\"".to_owned(),
            at_key("address", Fault::Address(ParseAddressError::Malformed)),
        ),
    ] {
        assert_eq!(fault(&signed_by(&words)), expected, "{words}");
    }
    let twice = signed_by(&format!("address = \"{ADDRESS}\", {remote} }}, {{ name = \"base-2\", address = \"{ADDRESS}\", {gcp}"));
    let first = Fault::Duplicate("networks[0].signers[0].address".to_owned());
    assert_eq!(fault(&twice), at("networks[0].signers[1].address", first));
}

#[test]
fn aws_is_shown_who_asks_in_one_way() {
    let at_key = |key: &str, fault| at(&format!("networks[0].signers[0].aws_kms.{key}"), fault);
    let with = |ways: &str| {
        signed_by(&format!("address = \"{ADDRESS}\", aws_kms = {{ key_id = \"alias/base\", region = \"eu-central-1\"{ways} }}"))
    };
    let fixed = r#", access_key_id = "AKIDEXAMPLE", secret_access_key = "env:BASE_SIGNER""#;
    let fetched = r#", credentials_url = "http://169.254.170.23/v1/credentials""#;

    let config = loaded(&with(fixed), &[]);
    let Some(KeyConfig::AwsKms(aws)) = &config.networks[0].signers[0].key else { panic!("not in AWS") };
    assert_eq!(aws.endpoint.expose(), "https://kms.eu-central-1.amazonaws.com");
    assert!(matches!(aws.way, AwsWay::Fixed { session_token: None, .. }));
    let config = loaded(&with(fetched), &[]);
    assert!(matches!(
        &config.networks[0].signers[0].key,
        Some(KeyConfig::AwsKms(AwsKmsConfig { way: AwsWay::Fetched { token_file: None, .. }, .. }))
    ));
    for (ways, expected) in [
        (String::new(), at_key("credentials_url", Fault::Missing)),
        (r#", access_key_id = "AKIDEXAMPLE""#.to_owned(), at_key("secret_access_key", Fault::Missing)),
        (r#", secret_access_key = "x""#.to_owned(), at_key("access_key_id", Fault::Missing)),
        (
            format!("{fixed}{fetched}"),
            at_key("credentials_url", Fault::Conflict("networks[0].signers[0].aws_kms.access_key_id".to_owned())),
        ),
        (
            format!("{fixed}, endpoint = \"https://kms.example/behind\""),
            at_key("endpoint", Fault::Expected("a URL without a path")),
        ),
    ] {
        assert_eq!(fault(&with(&ways)), expected, "{ways}");
    }
}

#[test]
fn who_does_not_sign_leaves_keys_alone_where_an_address_is_said() {
    let load = |text: &str| load_text(text, &environment(&[]), SigningKeys::Unwanted);
    let elsewhere = format!("address = \"{ADDRESS}\", key_file = \"/run/secrets/of-somebody-else\"");
    let kept = format!("address = \"{ADDRESS}\", remote = {{ url = \"env:NOT_SET\", token = \"env:NOT_SET\", key_id = \"a\" }}");

    for words in [&elsewhere, &kept] {
        let config = load(&signed_by(words)).unwrap();
        let signer = &config.networks[0].signers[0];
        assert!(signer.key.is_none() && signer.address.is_some());
        assert!(load_text(&signed_by(words), &environment(&[]), SigningKeys::Wanted).is_err());
    }
    assert!(load(NETWORK).unwrap().networks[0].signers[0].key.is_some(), "nothing else says whose it is");
}

#[test]
fn services_that_keep_keys_of_evm_networks_keep_none_of_solana() {
    let text = "[[networks]]\nid = \"solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1\"\nrpc = \"http://127.0.0.1:8899\"\n\
                [[networks.signers]]\naddress = \"FVen3X669xLzsi6N2V91DoiyzHzg1uAgqiT8jZ9nS96Z\"\ngcp_kms = { key_id = \"x\" }";

    let (key, _) = fault(text);
    assert_eq!(key, "networks[0].signers[0].gcp_kms");
}
