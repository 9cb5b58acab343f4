//! `bgctl config check`, and `bgctl reload`.

use std::path::Path;

use bg_userspace::{
    api::{
        Request, Response,
        types::{Code, ReloadResult},
    },
    config::Config,
};

use crate::agent::{Agent, run};
use crate::answers::error;

#[test]
fn config_check_says_all_that_is_wrong_without_an_agent() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("bgd.toml");
    std::fs::write(&file, Config::example()).unwrap();
    let line = format!("config check {}", file.display());
    let nowhere = Path::new("/nonexistent/bgd.sock");
    run(nowhere, &line).assert(0, ": valid\n  shop: 3 services, 6 blue and 6 green backends", "");
    assert_eq!(run(nowhere, &format!("{line} -o json")).json()["valid"], true);

    let wrong = Config::example().replace("xdp_mode", "xdp_mod").replace("4093", "4094");
    std::fs::write(&file, wrong).unwrap();
    let checked = run(nowhere, &line);
    let place = format!("{}:6: unknown key `xdp_mod` in [node]", file.display());
    checked.assert(1, "", &place);
    checked.assert(1, "", "  help: did you mean `xdp_mode`?");
    checked.assert(1, "", "which is no prime\n  help: ring_size = 4099\n  next: mend 2 problems");
    let json = run(nowhere, &format!("{line} -o json")).json();
    assert_eq!(json["error"]["problems"][0]["line"], 6);
    assert_eq!(json["error"]["problems"].as_array().unwrap().len(), 2);
}

#[test]
fn reload_says_what_is_different_now() {
    let agent = Agent::start(|request, before| match request {
        Request::Reload { body } if before == 0 => {
            assert_eq!(body.reason.as_deref(), Some("weights"));
            let changed = vec!["web: blue 10.0.1.1:8080 has weight 50 now".to_owned()];
            Ok(Response::Reload(ReloadResult { changed }))
        }
        Request::Reload { .. } if before == 1 => Ok(Response::Reload(ReloadResult { changed: Vec::new() })),
        _ => error(Code::Guard, Some("config"), None),
    });
    let done = agent.bgctl("reload --reason weights");
    done.assert(0, "the file is followed now\n  web: blue 10.0.1.1:8080 has weight 50 now\n", "");
    agent.bgctl("reload").assert(0, "nothing was changed", "");
    agent.bgctl("reload").assert(3, "", "not this way");
    assert_eq!(agent.bgctl("reload -o json").json()["error"]["guard"], "config");
}
