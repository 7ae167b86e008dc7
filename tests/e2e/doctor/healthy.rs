//! Where nothing is wrong, nothing is found.

use harness::home::Home;
use serde_json::json;

use super::found;
use super::site::{site, up};

#[test]
fn before_helmd_ever_ran_and_while_everything_runs() {
    let home = site();
    assert_eq!(found(&home), Vec::<serde_json::Value>::new());
    up(&home);
    assert_eq!(found(&home), Vec::<serde_json::Value>::new());
    let said = home.ctl(&["doctor"]).code(0);
    assert!(said.out.starts_with("nothing wrong found (") && said.err.is_empty(), "{said:?}");
    home.ctl(&["doctor", "core"]).code(0).says("nothing wrong found");
    home.ctl(&["down"]).code(0);
    assert_eq!(found(&home), Vec::<serde_json::Value>::new(), "what was stopped on purpose is no fault");
}

#[test]
fn a_service_that_there_is_not_is_told_with_the_one_that_was_meant() {
    let home = Home::new(&json!({"core": {"command": ["true"]}}));
    home.ctl(&["doctor", "croe"]).code(4).says("`core`?");
    home.ctl(&["doctor", "--yes"]).code(2);
}
