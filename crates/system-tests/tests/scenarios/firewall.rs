//! A network of a test's own, in which it may filter packets: the test starts itself again in it. Nothing outside of
//! it changes, and it is gone with its last process.

use std::path::Path;
use std::process::Command;
use windlass_testkit::Process;

/// Says that a process is in a network of its own.
const OWN: &str = "WINDLASS_TEST_OWN_NETWORK";

/// Whether this process is in a network of its own. Else the test of this name is run in one, to its end; it fails
/// where that fails, and where no network can be had.
pub(crate) fn in_own_network(test: &str) -> bool {
    if std::env::var_os(OWN).is_some() {
        return true;
    }
    // Root may; so may anybody who may be root in a namespace of users.
    let mut arguments = vec!["--net", "--fork", "--kill-child", "--"];
    let root = Command::new("id").arg("-u").output().unwrap().stdout == b"0\n";
    if !root {
        arguments.insert(0, "--map-root-user");
    }
    let program = std::env::current_exe().unwrap();
    let program = program.to_str().unwrap();
    let up = "ip link set lo up && exec \"$0\" \"$@\"";
    arguments.extend(["sh", "-c", up, program, "--exact", test, "--nocapture"]);
    let mut inside = Process::start(Path::new("unshare"), &arguments, &[(OWN, "1")]);
    let passed = inside.wait();
    let log = inside.log();
    assert!(
        passed && log.contains("1 passed"),
        "the test failed in a network of its own, or there is none to be had: unshare --net (util-linux), ip (iproute2) \
         and iptables need root or namespaces of users\n{log}"
    );
    false
}

/// A rule that drops what is sent there.
pub(crate) struct Dropped {
    rule: [String; 9],
}

impl Dropped {
    pub(crate) fn to(address: &str) -> Self {
        let (host, port) = address.split_once(':').unwrap();
        let rule = [
            "OUTPUT", "-d", host, "-p", "tcp", "--dport", port, "-j", "DROP",
        ];
        let dropped = Self {
            rule: rule.map(str::to_owned),
        };
        dropped.iptables("-A");
        dropped
    }

    /// Lets it through again.
    pub(crate) fn lift(self) {
        self.iptables("-D");
    }

    fn iptables(&self, what: &str) {
        let done = Command::new("iptables").arg(what).args(&self.rule).output();
        let done = done.expect("iptables (package iptables; scripts/test installs it)");
        assert!(done.status.success(), "iptables {what}: {done:?}");
    }
}
