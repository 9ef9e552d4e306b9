//! Which crate may reach which, read from `cargo metadata` for all platforms.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::process::Command;

use serde_json::Value;

use crate::{assert_clean, root};

/// Who must not reach whom through its normal and build dependencies, however far.
const FORBIDDEN: &[(&str, &[&str])] = &[
    (
        "sightline-media",
        &[
            "tokio",
            "mio",
            "socket2",
            "quinn-udp",
            "sightline-protocol",
            "sightline-device",
            "sightline-testkit",
        ],
    ),
    (
        "sightline-protocol",
        &[
            "tokio",
            "mio",
            "socket2",
            "quinn-udp",
            "sightline-device",
            "sightline-testkit",
        ],
    ),
    (
        "sightline-device",
        &["tokio", "mio", "sightline-protocol", "sightline-testkit"],
    ),
    ("sightline", &["sightline-testkit"]),
];

/// What nobody may reach, tests included: one crypto library (aws-lc-rs), no system OpenSSL.
const FORBIDDEN_EVERYWHERE: &[&str] = &["ring", "openssl-sys", "native-tls"];

/// Packages by id with their name and their dependencies; `true` where the dependency is for tests alone.
struct Graph {
    names: BTreeMap<String, String>,
    edges: BTreeMap<String, Vec<(String, bool)>>,
    members: Vec<String>,
}

/// Names of all packages that are built, for tests and other systems too.
fn built() -> BTreeSet<String> {
    let output = Command::new(env!("CARGO"))
        .args([
            "tree",
            "--workspace",
            "--locked",
            "--target",
            "all",
            "--edges",
            "all",
            "--prefix",
            "none",
            "--format",
            "{p}",
        ])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    assert!(
        output.status.success(),
        "cargo tree: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let text = String::from_utf8_lossy(&output.stdout);
    let names: BTreeSet<String> = text
        .lines()
        .filter_map(|line| line.split(' ').next())
        .map(str::to_owned)
        .collect();
    assert!(names.len() > 100 && names.contains("tokio"), "{names:?}");
    names
}

impl Graph {
    fn read() -> Graph {
        let output = Command::new(env!("CARGO"))
            .args(["metadata", "--format-version", "1", "--locked"])
            .current_dir(root())
            .output()
            .expect("cargo runs");
        assert!(
            output.status.success(),
            "cargo metadata: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        let mut graph = Graph::parse(&output.stdout);
        graph.keep_alone(&built());
        graph
    }

    /// Drops what is not built: `cargo metadata` lists optional dependencies that a feature names weakly (`ring?/alloc` of
    /// `rustls-webpki`) though nothing turns them on.
    fn keep_alone(&mut self, names: &BTreeSet<String>) {
        let unbuilt: BTreeSet<String> = (self.names.iter())
            .filter(|(_, name)| !names.contains(*name))
            .map(|(id, _)| id.clone())
            .collect();
        for edges in self.edges.values_mut() {
            edges.retain(|(to, _)| !unbuilt.contains(to));
        }
    }

    fn parse(json: &[u8]) -> Graph {
        let json: Value = serde_json::from_slice(json).expect("cargo metadata is JSON");
        let text = |value: &Value| value.as_str().expect("a string").to_owned();
        let list = |value: &Value| value.as_array().expect("a list").clone();
        let names = list(&json["packages"])
            .iter()
            .map(|package| (text(&package["id"]), text(&package["name"])))
            .collect();
        let edges = list(&json["resolve"]["nodes"])
            .iter()
            .map(|node| {
                let dependencies = list(&node["deps"])
                    .iter()
                    .map(|dependency| {
                        let only_tests = list(&dependency["dep_kinds"]).iter().all(|kind| kind["kind"] == "dev");
                        (text(&dependency["pkg"]), only_tests)
                    })
                    .collect();
                (text(&node["id"]), dependencies)
            })
            .collect();
        let members = list(&json["workspace_members"]).iter().map(text).collect();
        Graph { names, edges, members }
    }

    fn member(&self, name: &str) -> &String {
        self.members
            .iter()
            .find(|id| self.names[*id] == name)
            .unwrap_or_else(|| panic!("no workspace member {name}"))
    }

    /// The chain of names by which `from` reaches a package called `what`.
    fn chain(&self, from: &str, what: &str, tests_too: bool) -> Option<String> {
        let mut came_from: BTreeMap<&str, &str> = BTreeMap::new();
        let mut seen = BTreeSet::from([from]);
        let mut queue = VecDeque::from([from]);
        while let Some(id) = queue.pop_front() {
            if id != from && self.names[id] == what {
                let mut chain = vec![self.names[id].as_str()];
                let mut at = id;
                while let Some(before) = came_from.get(at) {
                    chain.push(&self.names[*before]);
                    at = before;
                }
                chain.reverse();
                return Some(chain.join(" → "));
            }
            for (to, only_tests) in self.edges.get(id).into_iter().flatten() {
                if (tests_too || !only_tests) && seen.insert(to) {
                    came_from.insert(to, id);
                    queue.push_back(to);
                }
            }
        }
        None
    }

    fn complaints(&self) -> Vec<String> {
        let mut found = Vec::new();
        for (from, banned) in FORBIDDEN {
            for what in *banned {
                found.extend(self.chain(self.member(from), what, false));
            }
        }
        for id in &self.members {
            for what in FORBIDDEN_EVERYWHERE {
                found.extend(self.chain(id, what, true));
            }
            if !["sightline", "sightline-fuzz"].contains(&self.names[id].as_str()) {
                found.extend(self.chain(id, "sightline", true));
            }
        }
        found
    }
}

#[test]
fn crates_reach_only_what_lies_below_them() {
    assert_clean(&Graph::read().complaints());
}

/// A workspace of our five crates with the given extra dependencies: (from, to, kind).
fn sample(extra: &[(&str, &str, Option<&str>)]) -> Graph {
    let ours = [
        "sightline-media",
        "sightline-protocol",
        "sightline-device",
        "sightline-testkit",
        "sightline",
    ];
    let mut names: BTreeSet<&str> = ours.into_iter().collect();
    names.extend(extra.iter().flat_map(|(from, to, _)| [*from, *to]));
    let packages: Vec<Value> = names
        .iter()
        .map(|name| serde_json::json!({ "id": name, "name": name }))
        .collect();
    let nodes: Vec<Value> = names
        .iter()
        .map(|name| {
            let deps: Vec<Value> = extra
                .iter()
                .filter(|(from, ..)| from == name)
                .map(|(_, to, kind)| serde_json::json!({ "pkg": to, "dep_kinds": [{ "kind": kind }] }))
                .collect();
            serde_json::json!({ "id": name, "deps": deps })
        })
        .collect();
    let json = serde_json::json!({ "packages": packages, "workspace_members": ours, "resolve": { "nodes": nodes } });
    Graph::parse(json.to_string().as_bytes())
}

#[test]
fn a_runtime_below_the_program_is_noticed() {
    let graph = sample(&[
        ("sightline-protocol", "nice-crate", None),
        ("nice-crate", "tokio", None),
    ]);
    assert_eq!(graph.complaints(), ["sightline-protocol → nice-crate → tokio"]);
    let graph = sample(&[("sightline-media", "socket2", Some("build"))]);
    assert_eq!(graph.complaints(), ["sightline-media → socket2"]);
    let graph = sample(&[("sightline-device", "sightline-protocol", None)]);
    assert_eq!(graph.complaints(), ["sightline-device → sightline-protocol"]);
}

#[test]
fn a_dependency_of_tests_alone_is_allowed_unless_banned_everywhere() {
    assert_clean(&sample(&[("sightline-media", "tokio", Some("dev"))]).complaints());
    assert_clean(&sample(&[("sightline-media", "sightline-testkit", Some("dev"))]).complaints());
    let graph = sample(&[("sightline-media", "ring", Some("dev"))]);
    assert_eq!(graph.complaints(), ["sightline-media → ring"]);
}

#[test]
fn the_testkit_outside_of_tests_is_noticed() {
    let graph = sample(&[("sightline", "sightline-testkit", None)]);
    assert_eq!(graph.complaints(), ["sightline → sightline-testkit"]);
}

#[test]
fn the_program_is_imported_by_nobody() {
    let graph = sample(&[("sightline-testkit", "sightline", Some("dev"))]);
    assert_eq!(graph.complaints(), ["sightline-testkit → sightline"]);
}

#[test]
fn what_is_named_but_not_built_is_no_dependency() {
    let mut graph = sample(&[("sightline-media", "nice-crate", None), ("nice-crate", "ring", None)]);
    assert_eq!(graph.complaints(), ["sightline-media → nice-crate → ring"]);
    graph.keep_alone(&["sightline-media", "nice-crate"].map(String::from).into());
    assert_clean(&graph.complaints());
}
