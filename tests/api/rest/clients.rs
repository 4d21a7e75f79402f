//! Clients that we did not write: curl, Node, Python, and what is made from the description.

use std::collections::BTreeSet;
use std::process::{Output, Stdio};

use tokio::process::Command;

use super::{Backend, setup};
use crate::harness::{SECRET, Service, patiently, tool};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
/// How long schemathesis may try requests; it ends earlier if it runs out of ideas.
const TRYING_SECS: u64 = 30;

fn file(path: &str) -> String {
    format!("{ROOT}/{path}")
}

/// Runs a program that knows where the edge is and its secret.
async fn run(service: &Service, program: &str, args: &[&str]) -> Output {
    let program = tool(program);
    let path = std::env::var("PATH").unwrap_or_default();
    let running = Command::new(&program)
        .args(args)
        .env("PATH", path)
        .env("REST", format!("http://{}", service.rest.unwrap()))
        .env("INTERNAL_SECRET", SECRET)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = running.await.unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program:?}: {said}{complained}");
    output
}

/// The shell commands of docs/rest.md, one after the other as they stand there; together they call every route.
#[tokio::test]
#[ignore = "needs curl; .ci/run installs it"]
async fn the_curl_commands_of_the_documents_work_and_show_every_route() {
    let service = setup().set("SFU_NODES", "sfu-1,sfu-2").start().await;
    let document = std::fs::read_to_string(file("docs/rest.md")).unwrap();
    let blocks = document.split("```sh\n").skip(1);
    let script: String = blocks
        .map(|block| block.split("```").next().unwrap())
        .collect();
    // Each command says to standard error what it called and what came of it.
    let home = tempfile::tempdir().unwrap();
    let rule = "write-out = \"%{stderr}called %{method} %{http_code} %{url}\\n\"\n";
    std::fs::write(home.path().join(".curlrc"), rule).unwrap();
    let script = format!(
        "export CURL_HOME={}\nset -euo pipefail\n{script}",
        home.path().display()
    );
    let output = patiently(run(&service, "bash", &["-c", &script])).await;
    let said = String::from_utf8(output.stderr).unwrap();

    let mut shown = BTreeSet::new();
    for line in said.lines().filter_map(|line| line.strip_prefix("called ")) {
        let [verb, status, url] = line.split(' ').collect::<Vec<_>>()[..] else {
            panic!("{line}");
        };
        // Nobody is connected whom they could mean.
        let expected = if url.ends_with(":admit") || url.ends_with(":mute") {
            "404"
        } else {
            "200"
        };
        assert_eq!(status, expected, "{line}");
        shown.insert(format!("{verb} {}", template(url)));
    }
    let description = Backend::of(&service).get("/openapi.json").await.json;
    let mut routes = BTreeSet::new();
    for (path, verbs) in description["paths"].as_object().unwrap() {
        for verb in verbs.as_object().unwrap().keys() {
            routes.insert(format!("{} {path}", verb.to_uppercase()));
        }
    }
    assert_eq!(shown, routes);
}

/// The template that a path of the document has.
fn template(url: &str) -> String {
    let path = url
        .splitn(4, '/')
        .nth(3)
        .unwrap()
        .split('?')
        .next()
        .unwrap();
    let segments = path.split('/').map(|segment| {
        let (id, suffix) = match segment.split_once(':') {
            Some((id, suffix)) => (id, format!(":{suffix}")),
            None => (segment, String::new()),
        };
        let name = match id.split(['_', '-']).next().unwrap() {
            "sess" => "{session_id}",
            "appt" => "{appointment_id}",
            "pat" | "int" | "dr" => "{user_id}",
            "sfu" => "{node_id}",
            _ => id,
        };
        format!("/{name}{suffix}")
    });
    segments.collect()
}

#[tokio::test]
#[ignore = "needs Node; .ci/run installs it"]
async fn a_backend_in_node_is_served() {
    let service = setup().start().await;
    patiently(run(
        &service,
        "node",
        &[&file("tests/clients/rest_client.mjs")],
    ))
    .await;
}

#[tokio::test]
#[ignore = "needs Python with requests; .ci/run installs it"]
async fn a_backend_with_pythons_requests_is_served() {
    let service = setup().start().await;
    patiently(run(
        &service,
        "python",
        &[&file("tests/clients/rest_client.py")],
    ))
    .await;
}

#[tokio::test]
#[ignore = "needs openapi-typescript; .ci/run installs it"]
async fn a_client_made_from_the_description_compiles_and_creates_a_session() {
    let service = setup().start().await;
    run(&service, "bash", &[&file("tests/peers/openapi-client/run")]).await;
}

#[tokio::test]
#[ignore = "needs openapi-spec-validator; .ci/run installs it"]
async fn the_description_is_valid() {
    let service = setup().start().await;
    let script = "import json, os, urllib.request, openapi_spec_validator as v\n\
        document = json.load(urllib.request.urlopen(os.environ['REST'] + '/openapi.json'))\n\
        v.validate(document, cls=v.OpenAPIV31SpecValidator)\n";
    patiently(run(&service, "python", &["-c", script])).await;
}

/// Requests made up from the description, good and bad ones: no answer is a failure of the service, and each is as described.
#[tokio::test]
#[ignore = "needs schemathesis; .ci/run installs it"]
async fn requests_made_up_from_the_description_are_answered_as_described() {
    let service = setup().set("SFU_NODES", "sfu-1,sfu-2").start().await;
    let description = format!("http://{}/openapi.json", service.rest.unwrap());
    let secret = format!("x-internal-secret: {SECRET}");
    let schemathesis = tool("schemathesis").display().to_string();
    let limit = TRYING_SECS.to_string();
    let home = tempfile::tempdir().unwrap();
    let work = home.path().display().to_string();
    let checks = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,\
        negative_data_rejection,unsupported_method";
    let script = format!(
        "cd {work} && exec \"$0\" run \"$1\" -H \"$2\" --checks {checks} --max-time {limit} --exclude-path-regex ':watch$' --no-color"
    );
    let output = run(
        &service,
        "bash",
        &["-c", &script, &schemathesis, &description, &secret],
    )
    .await;
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("Test cases:"), "{said}");
}
