//! A reload that is refused for what the file says: exit code 3, as for every guard, and nothing changed.

use bg_tests::lab::config::Settings;
use bg_tests::lab::stage::Stage;
use std::fs;

#[test]
fn reload_of_a_file_that_cannot_be_followed_is_refused_and_changes_nothing() {
    let stage = Stage::new(1, 1, &Settings::default()).unwrap();
    let before = stage.agent().deployment().unwrap();
    let good = fs::read_to_string(stage.config()).unwrap();
    let cases = [
        // No configuration at all; one with a mistake; and a right one that takes more than a reload.
        ("[deployments", "[[deployments", "bgd.toml:"),
        ("vip_interface", "vip_interfaces", "unknown key `vip_interfaces`"),
        ("syn_lifetime = \"2s\"", "syn_lifetime = \"3s\"", "restart bgd"),
        ("ring_size = 1021", "ring_size = 1031", "bgd detach"),
    ];
    for (from, to, word) in cases {
        assert!(good.contains(from), "the case {from:?} is void");
        fs::write(stage.config(), good.replacen(from, to, 1)).unwrap();
        let refused = stage.agent().bgctl(&["reload"]).unwrap();
        assert_eq!(refused.code, 3, "{to}: {refused:?}");
        let error = &refused.json["error"];
        assert_eq!((&error["code"], &error["guard"]), (&"guard".into(), &"config".into()), "{to}");
        assert!(error["message"].as_str().is_some_and(|said| said.contains(word)), "{to}: {error}");
        assert!(error["next"].as_str().is_some_and(|next| next.contains("nothing was changed")), "{error}");
    }
    let after = stage.agent().deployment().unwrap();
    assert_eq!((after.generation, after.last), (before.generation, before.last));
    // The file that it follows already asks for nothing new.
    fs::write(stage.config(), good).unwrap();
    let reply = stage.agent().bgctl(&["reload"]).unwrap();
    assert_eq!((reply.code, &reply.json["changed"]), (0, &serde_json::json!([])), "{reply:?}");
}
