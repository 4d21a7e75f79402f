//! The example of docs/proxy.md, as it stands there but for addresses, certificates and files.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::json;
use tokio::net::TcpStream;
use video_session::proto::v1::Role;

use crate::harness::{create, patiently};
use crate::world::{Ticket, World, fetch, setup};

fn example() -> String {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/proxy.md");
    let text = std::fs::read_to_string(file).unwrap();
    let (_, rest) = text.split_once("```nginx\n").unwrap();
    rest.split("```").next().unwrap().to_owned()
}

fn replaced(text: String, from: &str, to: &str) -> String {
    assert!(text.contains(from), "the example has no {from}");
    text.replace(from, to)
}

/// A running nginx, in the foreground so that it ends with the test.
struct Nginx(Child);

impl Drop for Nginx {
    fn drop(&mut self) {
        // Asked rather than killed, so that its worker ends too.
        let pid = self.0.id().to_string();
        let _ = Command::new("kill").args(["-s", "TERM", &pid]).status();
        let _ = self.0.wait();
    }
}

fn start(dir: &Path, example: &str) -> Nginx {
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .iter()
        .map(|kind| format!("    {kind}_temp_path {}/{kind};\n", dir.display()))
        .collect();
    let config = format!(
        "daemon off;\nmaster_process off;\npid {0}/pid;\nerror_log {0}/error.log;\nevents {{}}\nhttp {{\n{temporary}    access_log off;\n{example}}}\n",
        dir.display()
    );
    let file = dir.join("nginx.conf");
    std::fs::write(&file, config).unwrap();
    let program = ["/usr/sbin/nginx", "/usr/bin/nginx"]
        .into_iter()
        .map(PathBuf::from);
    let program = program.into_iter().find(|path| path.exists());
    let child = Command::new(program.unwrap_or_else(|| "nginx".into()))
        .args(["-e", "stderr", "-p"])
        .arg(dir)
        .arg("-c")
        .arg(file)
        .stdin(Stdio::null())
        .spawn()
        .expect("nginx (.ci/run installs it)");
    Nginx(child)
}

#[tokio::test]
#[ignore = "needs nginx; .ci/run installs it"]
async fn the_documented_proxy_leads_to_a_conversation() {
    let setup = setup()
        .set("CLIENT_BASE_URL", "https://page.test/video")
        .set("TRUSTED_PROXIES", "127.0.0.0/8");
    let mut world = World::with(&setup, create("appointment-1")).await;
    let dir = tempfile::tempdir().unwrap();
    // Below those that the system hands out, so that no other test is given it meanwhile.
    let port = 20_000 + std::process::id() % 10_000;
    let front: SocketAddr = format!("127.0.0.1:{port}").parse().unwrap();
    let log = dir.path().join("video.log");
    let text = replaced(example(), "10.0.0.11:4000", &world.service.http.to_string());
    let text = replaced(text, "    server 10.0.0.12:4000;\n", "");
    let text = replaced(text, "listen 443 ssl", &format!("listen {front}"));
    let text = replaced(text, "    ssl_certificate     /etc/ssl/clinic.pem;\n", "");
    let text = replaced(text, "    ssl_certificate_key /etc/ssl/clinic.key;\n", "");
    let text = replaced(text, "/var/log/nginx/video.log", log.to_str().unwrap());
    let nginx = start(dir.path(), &text);
    patiently(async {
        while TcpStream::connect(front).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;

    let id = world.session_id.clone();
    let mut pages = Vec::new();
    let mut tokens = Vec::new();
    for role in [Role::Doctor, Role::Patient] {
        let token = world.token(role).await;
        let path = format!("/video/join/{id}?token={token}");
        let answer = fetch(front, &path, &[]).await;
        assert_eq!(answer.status, 303);
        let ticket = Ticket::of(&id, &answer);
        let location = answer.header("location");
        assert_eq!(location, format!("/video{}", ticket.path()));
        let page = fetch(front, location, &[("cookie", &ticket.cookie)]).await;
        assert_eq!(page.status, 200);
        assert!(
            page.header("content-security-policy")
                .contains("wss://page.test")
        );
        let path = format!("/video/join/{id}/ws?p={}", ticket.slot);
        let headers = [("origin", "https://page.test"), ("cookie", &ticket.cookie)];
        let socket = crate::world::socket(front, &path, &headers).await.unwrap();
        pages.push(crate::world::Page::over(socket));
        tokens.push(token);
    }
    let [doctor, patient] = &mut pages[..] else {
        panic!("two");
    };
    doctor.until("user-joined").await;
    doctor.send(&json!({"type": "offer", "data": {"sdp": "x"}}));
    patient.until("offer").await;
    drop(nginx);
    let log = std::fs::read_to_string(log).unwrap();
    assert!(log.contains(&format!("/video/join/{id}")), "{log}");
    assert!(tokens.iter().all(|token| !log.contains(token)));
}
