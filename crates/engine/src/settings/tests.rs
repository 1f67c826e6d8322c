use super::reading::read;
use super::*;
use serde_json::{Value, json};

const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

fn made(container: Value, image: Value) -> Value {
    let settings = read(
        serde_json::from_value(container).unwrap(),
        &serde_json::from_value(image).unwrap(),
    );
    let labels = BTreeMap::from([("windlass.app".to_owned(), "1".to_owned())]);
    let mut value = serde_json::to_value(body("demo:2", &settings, &labels)).unwrap();
    value["networks"] = serde_json::to_value(&settings.networks).unwrap();
    value
}

#[test]
fn what_the_image_gave_is_left_to_the_next_image() {
    let body = made(
        json!({"Id": ID, "Config": {
            "Image": "demo:1", "Hostname": "0123456789ab", "User": "app", "WorkingDir": "/srv",
            "Env": ["PATH=/bin", "VERSION=1", "TOKEN=t"], "Cmd": ["serve"], "Entrypoint": ["/app"],
            "ExposedPorts": {"80/tcp": {}, "81/tcp": {}}, "Volumes": {"/data": {}},
            "Labels": {"maintainer": "image", "mine": "yes"}, "StopSignal": "SIGQUIT"}}),
        json!({"User": "app", "WorkingDir": "/srv", "Env": ["PATH=/bin", "VERSION=1"],
            "Cmd": ["serve"], "Entrypoint": ["/app"], "ExposedPorts": {"80/tcp": {}},
            "Volumes": {"/data": {}}, "Labels": {"maintainer": "image"}}),
    );
    assert_eq!(body["Image"], "demo:2");
    assert_eq!(body["Env"], json!(["TOKEN=t"]));
    assert_eq!(body["ExposedPorts"], json!({"81/tcp": {}}));
    assert_eq!(body["Labels"], json!({"mine": "yes", "windlass.app": "1"}));
    assert_eq!(body["StopSignal"], "SIGQUIT");
    for gone in ["Hostname", "User", "WorkingDir", "Cmd", "Entrypoint"] {
        assert_eq!(body.get(gone), None, "{gone}");
    }
}

#[test]
fn a_command_of_ones_own_stays_and_so_does_what_an_entry_point_took_away() {
    let image = json!({"Cmd": ["serve"], "Entrypoint": ["/app"]});
    for (config, entrypoint, cmd) in [
        (
            json!({"Entrypoint": ["/app"], "Cmd": ["work"]}),
            Value::Null,
            json!(["work"]),
        ),
        (
            json!({"Entrypoint": ["/sh"], "Cmd": ["serve"]}),
            json!(["/sh"]),
            json!(["serve"]),
        ),
        (
            json!({"Entrypoint": ["/app"], "Cmd": null}),
            json!(["/app"]),
            Value::Null,
        ),
        (
            json!({"Entrypoint": ["/app"], "Cmd": ["serve"]}),
            Value::Null,
            Value::Null,
        ),
        // One that was taken away is told as none, and none would be the image's.
        (
            json!({"Entrypoint": null, "Cmd": ["work"]}),
            json!([""]),
            json!(["work"]),
        ),
    ] {
        let body = made(json!({"Id": ID, "Config": config}), image.clone());
        assert_eq!(
            body.get("Entrypoint").unwrap_or(&Value::Null),
            &entrypoint,
            "{config}"
        );
        assert_eq!(body.get("Cmd").unwrap_or(&Value::Null), &cmd, "{config}");
    }
}

#[test]
fn everything_of_the_host_stays_as_it_is() {
    let host = json!({"Memory": 1048576, "Ulimits": [{"Name": "nofile", "Soft": 1, "Hard": 2}],
        "RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 3}, "CapAdd": ["NET_ADMIN"],
        "LogConfig": {"Type": "json-file", "Config": {"max-size": "1m"}}, "ShmSize": 67108864,
        "PortBindings": {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8080"}]}});
    let body = made(json!({"Id": ID, "HostConfig": host}), json!({}));
    for (name, value) in host.as_object().unwrap() {
        assert_eq!(&body["HostConfig"][name], value, "{name}");
    }
}

#[test]
fn volumes_without_a_name_and_borrowed_ones_are_named() {
    let body = made(
        json!({"Id": ID, "HostConfig": {"Binds": ["shop:/srv"], "VolumesFrom": ["other"],
            "Mounts": [{"Type": "volume", "Target": "/cache"}]},
         "Mounts": [
            {"Type": "volume", "Name": "shop", "Destination": "/srv", "RW": true},
            {"Type": "volume", "Name": "aaaa", "Destination": "/data", "RW": true},
            {"Type": "volume", "Name": "bbbb", "Destination": "/cache", "RW": true},
            {"Type": "bind", "Source": "/etc/x", "Destination": "/x", "RW": false}]}),
        json!({}),
    );
    let host = &body["HostConfig"];
    assert_eq!(
        host["Binds"],
        json!(["shop:/srv", "aaaa:/data:rw", "/etc/x:/x:ro"])
    );
    assert_eq!(
        host["Mounts"],
        json!([{"Type": "volume", "Target": "/cache", "Source": "bbbb"}])
    );
    assert_eq!(host.get("VolumesFrom"), None);
}

#[test]
fn networks_keep_aliases_and_fixed_addresses_and_nothing_that_was_drawn() {
    let body = made(
        json!({"Id": ID, "HostConfig": {"NetworkMode": "shop_default"}, "NetworkSettings": {"Networks": {
            "shop_default": {"Aliases": ["web", "0123456789ab"], "IPAddress": "172.20.0.7",
                "IPAMConfig": {"IPv4Address": "172.20.0.7"}, "MacAddress": "02:42:ac:14:00:07",
                "EndpointID": "e", "NetworkID": "n"},
            "back": {"Aliases": ["api"]}}}}),
        json!({}),
    );
    let web = json!({"Aliases": ["web"], "IPAMConfig": {"IPv4Address": "172.20.0.7"}});
    let endpoints = &body["NetworkingConfig"]["EndpointsConfig"];
    assert_eq!(endpoints, &json!({"shop_default": web}));
    assert_eq!(
        body["networks"],
        json!({"back": {"Aliases": ["api"]}, "shop_default": web})
    );
}

#[test]
fn who_has_no_network_of_his_own_gets_none() {
    for mode in ["host", "none", "container:abc"] {
        let body = made(
            json!({"Id": ID, "Config": {"Hostname": "given"}, "HostConfig": {"NetworkMode": mode},
                "NetworkSettings": {"Networks": {"host": {}}}}),
            json!({}),
        );
        assert_eq!(body["networks"], json!({}), "{mode}");
        assert_eq!(body.get("NetworkingConfig"), None, "{mode}");
        assert_eq!(body.get("Hostname").is_some(), mode == "none", "{mode}");
    }
    let body = made(
        json!({"Id": ID, "HostConfig": {"NetworkMode": "bridge"},
            "NetworkSettings": {"Networks": {"bridge": {"IPAddress": "172.17.0.2"}}}}),
        json!({}),
    );
    assert_eq!(body["networks"], json!({}));
}

#[test]
fn the_mode_is_a_network_that_the_container_is_in() {
    let id = "fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210";
    let shop =
        json!({"Aliases": ["web"], "IPAMConfig": {"IPv4Address": "172.20.0.7"}, "NetworkID": id});
    for (mode, networks, told) in [
        ("shop", json!({"shop": shop, "back": {}}), "shop"),
        // By its id, as a whole and shortened.
        (id, json!({"back": {}, "shop": shop}), "shop"),
        (&id[..12], json!({"back": {}, "shop": shop}), "shop"),
        // Somebody took it out of the network that it was made in.
        ("gone", json!({"shop": shop, "vault": {}}), "shop"),
        ("bridge", json!({"shop": shop}), "shop"),
        ("gone", json!({}), "none"),
        ("bridge", json!({}), "none"),
        ("default", json!({"bridge": {}}), "default"),
        ("bridge", json!({"bridge": {}, "shop": shop}), "bridge"),
        ("host", json!({"host": {}}), "host"),
        ("none", json!({"none": {}}), "none"),
        ("container:abc", json!({}), "container:abc"),
        (
            "slirp4netns:cidr=10.0.0.0/8",
            json!({}),
            "slirp4netns:cidr=10.0.0.0/8",
        ),
        ("pasta", json!({}), "pasta"),
    ] {
        let body = made(
            json!({"Id": ID, "HostConfig": {"NetworkMode": mode},
                "NetworkSettings": {"Networks": networks}}),
            json!({}),
        );
        assert_eq!(body["HostConfig"]["NetworkMode"], told, "{mode} {networks}");
        let first = body.pointer("/NetworkingConfig/EndpointsConfig/shop");
        let kept = first.map(|at| (&at["Aliases"][0], &at["IPAMConfig"]["IPv4Address"]));
        let wants = (told == "shop").then(|| (json!("web"), json!("172.20.0.7")));
        assert_eq!(kept, wants.as_ref().map(|(a, b)| (a, b)), "{mode}");
    }
}

#[test]
fn restart_policies_are_words() {
    for word in [
        "no",
        "always",
        "unless-stopped",
        "on-failure",
        "on-failure:3",
    ] {
        assert_eq!(restart_word(Some(&restart_policy(word))), word);
    }
    assert_eq!(restart_word(None), "no");
}
