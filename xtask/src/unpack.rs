//! Unpacking packages in the target folder instead of installing them: apt fetches what it would install, and dpkg
//! unpacks it. What is there is complete, because it gets its name last.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::apt::{apt, explain};
use crate::kernels::parts::{Cache, Part, Source};
use crate::run::{answer, with_stderr};

/// Fetches and unpacks a part.
pub(crate) fn unpack(part: &Part) -> Result<()> {
    let cache = Cache::find()?;
    let unfinished = cache.path().join(format!("{}.unfinished", part.name));
    if unfinished.exists() {
        fs::remove_dir_all(&unfinished).with_context(|| format!("clear {}", unfinished.display()))?;
    }
    let fetched = unfinished.join("fetched");
    // apt wants to have the folder for what it has not fetched to the end.
    fs::create_dir_all(fetched.join("partial")).with_context(|| format!("make {}", fetched.display()))?;
    let all: &[&str] = &[""];
    let keep = match part.source {
        Source::WithLibraries(package) => {
            fetch_with_libraries(package, &fetched)?;
            all
        }
        Source::Newest(begin, end, keep) => {
            fetch_newest(begin, end, &fetched)?;
            keep
        }
    };
    let unpacked = unfinished.join("unpacked");
    for package in
        files_under(&fetched)?.iter().filter(|file| file.extension().is_some_and(|end| end == "deb"))
    {
        let (status, said) =
            with_stderr(Command::new("dpkg-deb").arg("--extract").arg(package).arg(&unpacked))?;
        if !status.success() {
            bail!("{} cannot be unpacked: {}", package.display(), said.trim());
        }
    }
    for file in files_under(&unpacked)? {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        if !keep.iter().any(|begin| name.starts_with(begin)) {
            fs::remove_file(&file).with_context(|| format!("remove {}", file.display()))?;
        }
    }
    let folder = cache.folder(part);
    if folder.exists() {
        fs::remove_dir_all(&folder).with_context(|| format!("clear {}", folder.display()))?;
    }
    fs::rename(&unpacked, &folder).with_context(|| format!("give {} its name", folder.display()))?;
    fs::remove_dir_all(&unfinished).with_context(|| format!("clear {}", unfinished.display()))?;
    if cache.witness(part).is_none() {
        bail!("{} was unpacked in {}, and what it is for is not in it", part.name, folder.display());
    }
    Ok(())
}

/// Fetches a package, and those that it needs and that are not installed; nothing is installed, and so nothing has
/// to give way to it.
fn fetch_with_libraries(package: &str, into: &Path) -> Result<()> {
    let mut command = apt();
    command.args(["-q", "install", "--yes", "--download-only", "--no-install-recommends", package]);
    command.arg("-o").arg(format!("Dir::Cache::archives={}", into.display()));
    // The target folder may lie where only root can go.
    command.args(["-o", "APT::Sandbox::User=root"]);
    let (status, said) = with_stderr(&mut command)?;
    if !status.success() {
        bail!(explain("apt-get install --download-only", &said));
    }
    Ok(())
}

fn fetch_newest(begin: &str, end: &str, into: &Path) -> Result<()> {
    let mut search = Command::new("apt-cache");
    search.args(["search", "--names-only"]).arg(format!("^{}", begin.replace('.', "\\."))).env("LC_ALL", "C");
    let offered = answer(&mut search).context("apt-cache search failed")?;
    let Some(package) = newest(&offered, begin, end) else {
        bail!("apt here has no package {begin}*{end}: add Debian's main and security sources to its lists");
    };
    let mut command = apt();
    command.args(["-q", "download", package, "-o", "APT::Sandbox::User=root"]).current_dir(into);
    let (status, said) = with_stderr(&mut command)?;
    if !status.success() {
        bail!(explain("apt-get download", &said));
    }
    Ok(())
}

/// The newest of the packages that `apt-cache search` lists, by the numbers in its name.
fn newest<'a>(offered: &'a str, begin: &str, end: &str) -> Option<&'a str> {
    let names = offered.lines().filter_map(|line| line.split_whitespace().next());
    names.filter(|name| name.starts_with(begin) && name.ends_with(end)).max_by_key(|name| numbers(name))
}

fn numbers(name: &str) -> Vec<u64> {
    name.split(|c: char| !c.is_ascii_digit()).filter_map(|part| part.parse().ok()).collect()
}

fn files_under(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("list {}", folder.display()))? {
        let entry = entry.with_context(|| format!("list {}", folder.display()))?;
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            files.extend(files_under(&entry.path())?);
        } else {
            files.push(entry.path());
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFFERED: &str = "linux-image-6.1.0-9-cloud-amd64 - Linux 6.1\n\
        linux-image-6.1.0-56-cloud-amd64-dbg - Debug symbols\n\
        linux-image-6.1.0-56-cloud-amd64 - Linux 6.1\n\
        linux-image-6.12.9+deb12-cloud-amd64 - Linux 6.12\n\
        linux-image-6.12.117+deb12-cloud-amd64 - Linux 6.12\n";

    #[test]
    fn newest_kernel_of_a_series_is_found_by_number() {
        let newest = |begin| newest(OFFERED, begin, "-cloud-amd64");
        assert_eq!(newest("linux-image-6.1."), Some("linux-image-6.1.0-56-cloud-amd64"));
        assert_eq!(newest("linux-image-6.12."), Some("linux-image-6.12.117+deb12-cloud-amd64"));
        assert_eq!(newest("linux-image-6.6."), None);
    }
}
