//! Which container the agent itself runs in.

/// The engine's id of the container that this process is in; none outside of containers.
#[must_use]
pub fn own_container() -> Option<String> {
    in_mounts(&std::fs::read_to_string("/proc/self/mountinfo").ok()?)
}

/// Engines mount files such as `/etc/hostname` from a folder that is named after the container.
fn in_mounts(mounts: &str) -> Option<String> {
    let id = |part: &str| part.len() == 64 && part.bytes().all(|b| b.is_ascii_hexdigit());
    mounts
        .lines()
        // Root of the mount, and where it is.
        .filter_map(|line| {
            let mut fields = line.split(' ').skip(3);
            Some((fields.next()?, fields.next()?))
        })
        .filter(|(_, at)| matches!(*at, "/etc/hostname" | "/etc/hosts" | "/etc/resolv.conf"))
        .flat_map(|(root, _)| root.split('/'))
        .find(|part| id(part))
        .map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_container_is_read_from_what_engines_mount_into_it() {
        let id = "ab".repeat(32);
        for root in [
            format!("/var/lib/docker/containers/{id}/hostname"),
            format!("/containers/storage/overlay-containers/{id}/userdata/hostname"),
        ] {
            let mounts = format!(
                "1 2 0:1 / / rw - overlay overlay rw\n3 1 8:1 {root} /etc/hostname rw - ext4 /dev/sda1 rw\n"
            );
            assert_eq!(in_mounts(&mounts), Some(id.clone()));
        }
        // A volume of another container's is not ours.
        let mounts =
            format!("3 1 8:1 /var/lib/docker/containers/{id}/x /data rw - ext4 /dev/sda1 rw");
        assert_eq!(in_mounts(&mounts), None);
        assert_eq!(in_mounts("garbage"), None);
    }
}
