//! A machine of its own beside this one, reached by a wire that can be pulled out.

use std::process::Command;

use super::support::{tool, with_settings_of_its_own};

/// Root can make namespaces and mount; nothing is skipped for others.
const NEEDS: &str =
    "this test makes network namespaces and mounts, for which it needs root (CAP_NET_ADMIN, CAP_SYS_ADMIN)";

/// Runs a program of the system, which must succeed.
pub(crate) fn system(program: &str, arguments: &str) {
    let output = Command::new(program)
        .args(arguments.split_whitespace())
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error}; `scripts/setup test` installs it"));
    assert!(
        output.status.success(),
        "{program} {arguments}: {}\n{NEEDS}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// The other machine. This one is `.1` of the network between them, and it is `.2`.
pub(crate) struct Neighbour {
    name: String,
}

impl Neighbour {
    /// `tag`: a letter of its own for each test; `network`: the first three numbers, such as `10.78.9`.
    pub(crate) fn new(tag: &str, network: &str) -> Self {
        let name = format!("sl{tag}{}", std::process::id());
        let neighbour = Self { name };
        let name = &neighbour.name;
        system("ip", &format!("netns add {name}"));
        system(
            "ip",
            &format!("link add {name}a type veth peer name {name}b netns {name}"),
        );
        system("ip", &format!("address add {network}.1/24 dev {name}a"));
        system("ip", &format!("link set {name}a up"));
        system("ip", &format!("-n {name} address add {network}.2/24 dev {name}b"));
        system("ip", &format!("-n {name} link set {name}b up"));
        system("ip", &format!("-n {name} link set lo up"));
        neighbour
    }

    /// This machine's interface towards it.
    pub(crate) fn interface(&self) -> String {
        format!("{}a", self.name)
    }

    /// A program there.
    pub(crate) fn tool(&self, program: &str) -> Command {
        // It must be installed, there as here.
        drop(tool(program));
        self.command(program)
    }

    /// The program under test, there.
    pub(crate) fn sightline(&self) -> Command {
        with_settings_of_its_own(self.command(env!("CARGO_BIN_EXE_sightline")))
    }

    /// A program there, by its path.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = tool("ip");
        command.args(["netns", "exec", &self.name, program]);
        command
    }

    /// From now on nothing arrives, on either side.
    pub(crate) fn cut(&self) {
        system("ip", &format!("-n {0} link set {0}b down", self.name));
    }
}

impl Drop for Neighbour {
    fn drop(&mut self) {
        for arguments in [
            ["link", "delete", &format!("{}a", self.name)],
            ["netns", "delete", &self.name],
        ] {
            let _ = Command::new("ip").args(arguments).status();
        }
    }
}
