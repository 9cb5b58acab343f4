//! `bgctl reload`: the agent reads its file again and says what is different now.

use super::{
    exit::{Exit, Failure},
    output::Output,
    text::clean,
};
use crate::api::{
    client::Client,
    types::{ReloadRequest, ReloadResult},
};

pub(super) async fn run(output: &Output, client: &Client, reason: Option<String>) -> Result<Exit, Failure> {
    let result = client.reload(&ReloadRequest { reason }).await?;
    output.answer(&result, || show(output, &result))?;
    Ok(Exit::Done)
}

fn show(output: &Output, result: &ReloadResult) -> String {
    let mut lines = vec![if result.changed.is_empty() {
        "the file asks for nothing new; nothing was changed".to_owned()
    } else {
        output.paint().good("the file is followed now")
    }];
    lines.extend(result.changed.iter().map(|sentence| clean(sentence)));
    lines.push("next: bgctl status".to_owned());
    lines.join("\n  ")
}
