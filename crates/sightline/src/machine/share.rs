//! How much memory the program may have: the machine's, or the part of it that its control groups leave (a service's `MemoryMax=`, a container's limit).

use std::path::Path;

use super::{memory, read};

/// The smallest limit there is, in bytes. `None`: the system does not tell.
pub fn memory_share() -> Option<u64> {
    let machine = memory(&read("/proc/meminfo")?)?.total_bytes;
    let groups = read("/proc/self/cgroup").unwrap_or_default();
    let limits = limits(&groups, |file| std::fs::read_to_string(file).ok());
    Some(limits.fold(machine, u64::min))
}

/// The limits of the groups that `/proc/self/cgroup` lists and of those around them (cgroups(7)). A container sees its own group as the uppermost, under
/// a path of outside, or of none: so what is not there is passed over, and the uppermost is always looked at.
fn limits<'a>(groups: &'a str, look: impl Fn(&Path) -> Option<String> + 'a) -> impl Iterator<Item = u64> + 'a {
    let files = groups.lines().flat_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, path) = (parts.next().unwrap_or("-"), parts.next().unwrap_or_default());
        let root = match controllers {
            "" => Some(("/sys/fs/cgroup", "memory.max")),
            _ if controllers.split(',').any(|name| name == "memory") => {
                Some(("/sys/fs/cgroup/memory", "memory.limit_in_bytes"))
            }
            _ => None,
        };
        root.into_iter().flat_map(move |(root, file)| {
            let group = Path::new(path.trim_start_matches('/'));
            group
                .ancestors()
                .map(move |group| Path::new(root).join(group).join(file))
        })
    });
    // "max" is no number.
    files.filter_map(move |file| look(&file)?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::a_service("0::/system.slice/sightline.service\n", &[("/sys/fs/cgroup/system.slice/sightline.service/memory.max", "268435456\n")], &[268_435_456])]
    #[case::its_slice(
        "0::/system.slice/sightline.service",
        &[("/sys/fs/cgroup/system.slice/sightline.service/memory.max", "max\n"), ("/sys/fs/cgroup/system.slice/memory.max", "1000\n")],
        &[1_000]
    )]
    #[case::a_container("0::/", &[("/sys/fs/cgroup/memory.max", "2000")], &[2_000])]
    #[case::a_container_with_a_path_of_outside("0::/docker/abc", &[("/sys/fs/cgroup/memory.max", "2000")], &[2_000])]
    #[case::the_older_kind(
        "5:cpu,cpuacct:/a\n4:memory:/user\n0::/init",
        &[("/sys/fs/cgroup/memory/user/memory.limit_in_bytes", "3000"), ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712")],
        &[3_000, 9_223_372_036_854_771_712]
    )]
    #[case::no_limit("0::/", &[("/sys/fs/cgroup/memory.max", "max")], &[])]
    #[case::nothing_that_makes_sense("x\n\n4:memory", &[], &[])]
    fn each_group_and_those_around_it(#[case] groups: &str, #[case] files: &[(&str, &str)], #[case] expected: &[u64]) {
        let look = |file: &Path| {
            let found = files.iter().find(|(name, _)| Path::new(name) == file)?;
            Some(found.1.to_owned())
        };
        assert_eq!(limits(groups, look).collect::<Vec<_>>(), expected);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn this_machine_tells() {
        assert!(memory_share().is_some_and(|bytes| bytes > 1 << 20));
    }
}
