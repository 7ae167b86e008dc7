//! Every right of everybody, and what narrows it.

use proptest::prelude::*;

use super::*;

fn name(text: &str) -> ServiceName {
    ServiceName::new(text).unwrap()
}

fn only(names: &[&str]) -> Scope {
    names.iter().map(|text| name(text)).collect()
}

fn with(credential: Credential) -> Principal {
    Principal {
        subject: "s".into(),
        name: "n".into(),
        credential,
        request_id: String::new(),
        from: String::new(),
    }
}

/// Different lists for each role: what is taken from the wrong one is seen.
fn rules() -> Rules {
    Rules {
        roles: Roles {
            technician: Rights { sees: Scope::All, operates: only(&["codex"]) },
            billing: Rights { sees: only(&["ledger", "archive"]), operates: only(&["ledger"]) },
            client: Rights { sees: only(&["brainhair"]), operates: only(&["beacon"]) },
        },
        open_ingest: true,
    }
}

/// What the issue says, in words of its own: for each action the services that admin, technician, billing and client reach.
const EXPECTED: [(&str, [&str; 4]); 16] = [
    ("services", ["*", "*", "archive, ledger", "beacon, brainhair"]),
    ("status", ["*", "*", "archive, ledger", ""]),
    ("events", ["*", "*", "", ""]),
    ("incidents", ["*", "*", "", ""]),
    ("logs", ["*", "*", "archive, ledger", ""]),
    ("counts", ["*", "*", "archive, ledger", ""]),
    ("output", ["*", "*", "", ""]),
    ("metrics", ["*", "*", "", ""]),
    ("operate", ["*", "codex", "ledger", "beacon"]),
    ("ingest", ["*", "*", "", ""]),
    ("ingest_metrics", ["*", "", "", ""]),
    ("scrape", ["*", "", "", ""]),
    ("configuration", ["*", "", "", ""]),
    ("environment", ["*", "", "", ""]),
    ("audit", ["*", "", "", ""]),
    ("access", ["*", "", "", ""]),
];

#[test]
fn every_right_of_every_role() {
    let words: Vec<&str> = EXPECTED.iter().map(|(word, _)| *word).collect();
    assert_eq!(words, Action::ALL.map(Action::as_str), "every action is in the table");
    for (action, (_, expected)) in Action::ALL.into_iter().zip(EXPECTED) {
        for (role, expected) in Role::ALL.into_iter().zip(expected) {
            let found = scope(&with(Credential::User(role)), &rules(), action).to_string();
            assert_eq!(found, expected, "{role:?} {action:?}");
        }
        assert_eq!(scope(&with(Credential::Session), &rules(), action), Scope::All, "{action:?}");
    }
}

/// Actions that somebody without a role has, each with where.
fn rights(credential: Credential, rules: &Rules) -> Vec<String> {
    let principal = with(credential);
    let found = Action::ALL.map(|action| (action, scope(&principal, rules, action)));
    let has = found.into_iter().filter(|(_, scope)| !scope.is_empty());
    has.map(|(action, scope)| format!("{}: {scope}", action.as_str())).collect()
}

#[test]
fn every_right_of_everybody_else() {
    let (rules, core) = (rules(), only(&["core"]));
    let service =
        ["services: *", "status: *", "counts: *", "metrics: *", "ingest: core", "ingest_metrics: core"];
    assert_eq!(rights(Credential::Service(name("core")), &rules), service);
    assert_eq!(rights(Credential::Direct, &rules), ["ingest: *", "scrape: *"]);
    assert_eq!(rights(Credential::Direct, &Rules { open_ingest: false, ..rules.clone() }), ["scrape: *"]);
    assert_eq!(
        rights(Credential::IngestToken(core.clone()), &rules),
        ["ingest: core", "ingest_metrics: core"]
    );
    assert_eq!(rights(Credential::IngestToken(Scope::All), &rules), ["ingest: *", "ingest_metrics: *"]);
    assert_eq!(rights(Credential::MetricsToken(core), &rules), ["scrape: core"]);
    let web = rights(Credential::Web, &rules);
    let reads = ["services", "status", "events", "incidents", "logs", "counts", "output", "metrics"];
    assert_eq!(web.len(), reads.len() + 2, "{web:?}");
    assert!(
        reads.iter().chain(&["ingest", "scrape"]).all(|word| web.contains(&format!("{word}: *"))),
        "{web:?}"
    );
}

#[test]
fn a_refusal_says_who_may_and_where_it_is_listed() {
    let says = |credential, action, service| {
        may(&with(credential), &rules(), action, service).unwrap_err().to_string()
    };
    let client = || Credential::User(Role::Client);
    assert_eq!(
        says(client(), Action::Logs, None),
        "a client may not read the log: that is for admins, technicians, billing"
    );
    assert_eq!(says(client(), Action::Services, Some("core")), "a client may not see the state of `core`");
    assert_eq!(
        says(Credential::Service(name("core")), Action::Ingest, Some("codex")),
        "a service token may not send log entries of `codex`"
    );
    let nothing = Rules { roles: Roles::default(), open_ingest: false };
    let says = |credential, action| may(&with(credential), &nothing, action, None).unwrap_err().to_string();
    assert!(says(client(), Action::Services).contains("`client` in [roles] of instance/helm.conf"));
    assert!(says(client(), Action::Operate).contains("`client.operate` in [roles]"));
    assert!(says(Credential::Direct, Action::Ingest).contains("`open_ingest` is off"));
    let some = may_all(&with(Credential::User(Role::Technician)), &rules(), Action::Operate).unwrap_err();
    assert!(some.to_string().ends_with("of all services: name those that are meant"), "{some}");
    assert_eq!(may_all(&with(Credential::Session), &rules(), Action::Operate), Ok(()));
}

#[test]
fn an_unknown_level_is_a_client() {
    for level in ["", "Admin", "admins", "/admins", "root", "client"] {
        assert_eq!(Role::of_level(level), Role::Client, "{level}");
    }
    assert_eq!(Role::ALL.map(|role| Role::of_level(role.as_str())), Role::ALL);
}

#[test]
fn a_filter_is_narrowed_and_never_widened() {
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let two = only(&["core", "codex"]);
    assert_eq!(two.narrow(names(&[])), Ok(names(&["codex", "core"])));
    assert_eq!(two.narrow(names(&["core"])), Ok(names(&["core"])));
    assert_eq!(two.narrow(names(&["core", "nexus"])), Err(Outside("nexus".into())));
    assert_eq!(Scope::none().narrow(names(&[])), Err(Outside(String::new())));
    assert_eq!(Scope::All.narrow(names(&[])), Ok(names(&[])));
}

#[test]
fn a_principal_is_told_in_words() {
    let mut ada = with(Credential::User(Role::Admin));
    (ada.subject, ada.name, ada.from) = ("5f3c".into(), "Ada".into(), "127.0.0.1 uid 1000".into());
    assert_eq!(ada.to_string(), "Ada (user 5f3c) from 127.0.0.1 uid 1000");
    let direct = Principal { subject: String::new(), name: String::new(), ..with(Credential::Direct) };
    assert_eq!(direct.to_string(), "direct request");
}

fn some_scope() -> impl Strategy<Value = Scope> {
    let some = proptest::sample::subsequence(vec!["core", "codex", "ledger", "beacon"], 0..=4);
    prop_oneof![1 => Just(Scope::All), 4 => some.prop_map(|names| only(&names))]
}

fn some_rules() -> impl Strategy<Value = Rules> {
    let rights = || (some_scope(), some_scope()).prop_map(|(sees, operates)| Rights { sees, operates });
    (rights(), rights(), rights(), any::<bool>()).prop_map(|(technician, billing, client, open_ingest)| {
        Rules { roles: Roles { technician, billing, client }, open_ingest }
    })
}

fn some_role() -> impl Strategy<Value = Role> {
    proptest::sample::select(Role::ALL.to_vec())
}

fn some_credential() -> impl Strategy<Value = Credential> {
    prop_oneof![
        some_role().prop_map(Credential::User),
        Just(Credential::Session),
        Just(Credential::Service(name("core"))),
        (some_role(), some_scope()).prop_map(|(role, services)| Credential::Token(role, services)),
        some_scope().prop_map(Credential::IngestToken),
        some_scope().prop_map(Credential::MetricsToken),
        Just(Credential::Direct),
        Just(Credential::Web),
    ]
}

proptest! {
    /// `may` and `scope` never differ, and only admins reach what is for admins alone.
    #[test]
    fn may_is_scope_asked_about_one(rules in some_rules(), credential in some_credential(), service in "[a-z]{1,6}|core|codex") {
        let principal = with(credential);
        for action in Action::ALL {
            let scope = scope(&principal, &rules, action);
            prop_assert_eq!(may(&principal, &rules, action, Some(&service)).is_ok(), scope.holds(&service));
            prop_assert_eq!(may(&principal, &rules, action, None).is_ok(), !scope.is_empty());
            prop_assert_eq!(may_all(&principal, &rules, action).is_ok(), scope == Scope::All);
            let for_admins = matches!(action, Action::Configuration | Action::Environment | Action::Audit | Action::Access);
            let admin = matches!(principal.credential, Credential::Session | Credential::User(Role::Admin) | Credential::Token(Role::Admin, _));
            prop_assert!(!for_admins || admin || scope.is_empty());
        }
    }

    /// A token never reaches further than the role it has, nor out of its services.
    #[test]
    fn a_token_only_narrows(rules in some_rules(), role in some_role(), services in some_scope(), service in "core|codex|ledger|zebra") {
        for action in Action::ALL {
            let narrowed = scope(&with(Credential::Token(role, services.clone())), &rules, action);
            let whole = scope(&with(Credential::User(role)), &rules, action);
            let of_all = action.is_of_all() && services != Scope::All;
            let expected = whole.holds(&service) && services.holds(&service) && !of_all;
            prop_assert_eq!(narrowed.holds(&service), expected, "{:?}", action);
        }
    }

    /// What a filter is narrowed to lies inside, and is all only where all is reached.
    #[test]
    fn narrowing_stays_inside(reached in some_scope(), names in proptest::collection::vec("core|codex|zebra", 0..3)) {
        match reached.narrow(names.clone()) {
            Ok(kept) => prop_assert!(reached == Scope::All || (!kept.is_empty() && kept.iter().all(|name| reached.holds(name)))),
            Err(Outside(name)) => prop_assert!(!reached.holds(&name) || reached.is_empty()),
        }
    }
}
