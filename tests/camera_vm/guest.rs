//! The scenarios, run inside the machine as root.

mod support;
mod usb;
mod vivid;
mod whole;

use std::panic;
use std::process::ExitCode;
use std::time::Instant;

/// A name and what it does; a panic is a failure.
pub(crate) type Scenario = (&'static str, fn());

/// The scenarios whose names hold one of these words; all of them when there are none.
pub(crate) fn chosen(names: &[String]) -> Vec<Scenario> {
    let fits = |name: &str| names.is_empty() || names.iter().any(|part| name.contains(part.as_str()));
    let all = vivid::SCENARIOS.iter().chain(usb::SCENARIOS).chain(whole::SCENARIOS);
    all.filter(|(name, _)| fits(name)).copied().collect()
}

/// Runs what was asked for: one of the helper roles, or the scenarios.
pub(crate) fn run(arguments: &[String]) -> ExitCode {
    match arguments.first().map(String::as_str) {
        Some("hold") => return support::hold(&arguments[1..]),
        Some("open") => return support::open_and_tell(&arguments[1..]),
        _ => {}
    }
    let scenarios = chosen(arguments);
    let began = Instant::now();
    println!("\nrunning {} tests", scenarios.len());
    let mut failed = 0;
    for (name, scenario) in &scenarios {
        let began = Instant::now();
        let passed = panic::catch_unwind(scenario).is_ok();
        failed += usize::from(!passed);
        let word = if passed { "ok" } else { "FAILED" };
        println!("test {name} ... {word} ({:.1} s)", began.elapsed().as_secs_f64());
    }
    let passed = scenarios.len() - failed;
    let word = if failed == 0 && passed > 0 { "ok" } else { "FAILED" };
    let seconds = began.elapsed().as_secs_f64();
    println!(
        "\ntest result: {word}. {passed} passed; {failed} failed; 0 ignored; 0 measured; 0 filtered out; finished in {seconds:.2}s\n"
    );
    if word == "ok" {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
