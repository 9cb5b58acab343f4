//! The model, as deep as one likes: `cargo xtask model`.
#![forbid(unsafe_code)]
fn main() {
    use bg_tests::model::{cases, check, Limits};
    let filter = std::env::args().nth(1).unwrap_or_default();
    for setup in cases::HOLD.iter().filter(|s| s.name.contains(&filter)) {
        let found = check(*setup, Limits { depth: None, threads: 2, time: Some(std::time::Duration::from_secs(60)) }, |_, _, _| ());
        eprintln!("{:<30} states {:>9} depth {:>3} {:>6.1} s complete {}", setup.name, found.states, found.depth, found.took.as_secs_f64(), found.complete);
        if let Some((fault, actions)) = found.violation {
            eprintln!("   {}", fault.text());
            for a in actions { eprintln!("     {a:?}"); }
        }
    }
}
