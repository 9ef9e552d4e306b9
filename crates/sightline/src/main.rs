//! The program: see [`sightline`].

fn main() -> std::process::ExitCode {
    sightline::cli::main(std::env::args_os())
}
