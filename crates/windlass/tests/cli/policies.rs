//! `windlass policies` against a server.

use crate::server::Server;

const TWO: &str = "[[policy]]\nname = \"one\"\nimage = \"r.example/demo/*\"\nstrategy = \"staged\"\n\
                   batches = [{ percent = 20 }, { count = 3 }]\n\
                   [[policy]]\nname = \"two\"\nimage = \"r.example/other\"\nstrategy = \"auto\"\n\
                   priority = 5\n";

#[tokio::test]
async fn policies_are_made_and_changed_by_name_from_files() {
    let server = Server::start();
    let file = server.file("policies.toml", TWO);
    let file = file.to_str().unwrap();
    let apply = ["policies", "apply", "-f", file];
    let actions = async || -> Vec<String> {
        let done = server.json(&apply).await;
        done.as_array()
            .unwrap()
            .iter()
            .map(|row| row["action"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(actions().await, ["created", "created"]);
    assert_eq!(actions().await, ["unchanged", "unchanged"]);
    std::fs::write(file, TWO.replace("priority = 5", "priority = 7")).unwrap();
    assert_eq!(actions().await, ["unchanged", "updated"]);

    let list = server.json(&["policies", "list"]).await;
    assert_eq!(
        list[0]["name"], "two",
        "the one that decides first is on top"
    );
    assert_eq!(list[0]["priority"], 7);
    let shown = server.windlass(&["policies", "show", "one"]).await;
    let again = server.file("again.toml", &shown.stdout);
    let done = server
        .json(&["policies", "apply", "-f", again.to_str().unwrap()])
        .await;
    assert_eq!(
        done[0]["action"], "unchanged",
        "what is shown can be applied"
    );

    assert_eq!(
        server.json(&["policies", "delete", "one"]).await["action"],
        "deleted"
    );
    assert_eq!(
        server.windlass(&["policies", "delete", "one"]).await.code,
        3
    );
    assert_eq!(server.windlass(&["policies", "show", "one"]).await.code, 3);
}

#[tokio::test]
async fn what_the_server_does_not_accept_is_exit_code_4_and_says_which_field() {
    let server = Server::start();
    let window = "name = \"w\"\nimage = \"r.example/a\"\nstrategy = \"staged\"\n\
                  [[maintenance_windows]]\nstart = \"26:00\"\nend = \"04:00\"\n";
    let file = server.file("window.toml", window);
    let ended = server
        .windlass(&["policies", "apply", "-f", file.to_str().unwrap()])
        .await;
    assert_eq!(ended.code, 4, "{ended:?}");
    assert!(ended.stderr.contains("maintenance_windows"), "{ended:?}");
    let typo = server.file("typo.toml", &TWO.replace("priority", "prioritee"));
    let ended = server
        .windlass(&["policies", "apply", "-f", typo.to_str().unwrap()])
        .await;
    assert_eq!(ended.code, 2, "{ended:?}");
    assert_eq!(
        server
            .json(&["policies", "list"])
            .await
            .as_array()
            .unwrap()
            .len(),
        0
    );
}
