//! The commands that fetch a model, for the host by which the reader came.

use mdl_store::Name;

use super::super::origin::Origin;

/// A command to copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Command {
    /// Whose command it is.
    pub(crate) tool: &'static str,
    /// What to type.
    pub(crate) text: String,
    /// A sentence about it; may be empty.
    pub(crate) note: &'static str,
}

/// What decides which tools can fetch a model, and how.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Subject<'a> {
    /// Where it lies.
    pub(crate) repo: &'a Name,
    /// Its tag; without one it is fetched by digest.
    pub(crate) tag: Option<&'a str>,
    /// Its digest.
    pub(crate) digest: &'a str,
    /// Its commit for Hugging Face clients.
    pub(crate) commit: &'a str,
    /// Whether the tag is what `main` means.
    pub(crate) is_main: bool,
    /// Its first GGUF file.
    pub(crate) gguf: Option<&'a str>,
    /// Whether it is a folder that transformers load.
    pub(crate) is_folder: bool,
}

/// Commands for everything that can fetch it.
pub(crate) fn pull(origin: &Origin, subject: &Subject<'_>) -> Vec<Command> {
    let folder = folder(subject.repo);
    let reference = reference(origin, subject);
    let mut commands = vec![mdl(origin, &reference, folder), oras(origin, &reference, folder)];
    commands.extend(ollama(origin, subject));
    if let Some(id) = hub_id(subject.repo) {
        let endpoint = format!("HF_ENDPOINT={}", origin.base());
        let revision = match subject.tag {
            _ if subject.is_main => String::new(),
            Some(tag) => format!(" --revision {tag}"),
            None => format!(" --revision {}", subject.commit),
        };
        let download = format!("{endpoint} hf download {id}{revision} --local-dir {folder}");
        commands.push(Command {
            tool: "huggingface_hub",
            text: download.clone(),
            note: "With the same HF_ENDPOINT, from_pretrained and snapshot_download work as well.",
        });
        if let Some(file) = subject.gguf {
            let path = quoted(&format!("{folder}/{file}"));
            commands.push(Command {
                tool: "vLLM",
                text: format!("{download}\nvllm serve {path}"),
                note: "",
            });
            if subject.is_main {
                let text = format!("{endpoint} llama-server -hf {id}");
                commands.push(Command { tool: "llama.cpp", text, note: "" });
            }
        } else if subject.is_folder {
            let text = format!("{endpoint} vllm serve {id}{revision}");
            commands.push(Command { tool: "vLLM", text, note: "" });
        }
    }
    commands
}

/// The one command that a repository's page shows.
pub(crate) fn mdl_pull(origin: &Origin, subject: &Subject<'_>) -> Command {
    mdl(origin, &reference(origin, subject), folder(subject.repo))
}

/// How the first models come to a registry.
pub(crate) fn push(origin: &Origin) -> Vec<Command> {
    let (host, plain) = (&origin.host, mdl_plain(origin));
    let oras_plain = if origin.secure { "" } else { " --plain-http" };
    let insecure = if origin.secure { "" } else { " --insecure" };
    vec![
        Command {
            tool: "mdl",
            text: format!("mdl push{plain} ./model.gguf {host}/my-team/my-model:q4_k_m"),
            note: "A folder with a Hugging Face model works the same way.",
        },
        Command {
            tool: "Ollama",
            text: format!(
                "ollama cp my-model {host}/my-team/my-model\nollama push{insecure} {host}/my-team/my-model"
            ),
            note: "",
        },
        Command {
            tool: "oras",
            text: format!(
                "oras push{oras_plain} {host}/my-team/my-model:q4_k_m \\\n  \
                 --artifact-type application/vnd.cncf.model.manifest.v1+json \\\n  \
                 model.gguf:application/vnd.cncf.model.weight.v1.raw"
            ),
            note: "",
        },
    ]
}

fn mdl(origin: &Origin, reference: &str, folder: &str) -> Command {
    Command {
        tool: "mdl",
        text: format!("mdl pull{} {reference} --to {folder}", mdl_plain(origin)),
        note: "Resumes where it was interrupted, and checks every file against its digest.",
    }
}

fn oras(origin: &Origin, reference: &str, folder: &str) -> Command {
    let plain = if origin.secure { "" } else { " --plain-http" };
    Command { tool: "oras", text: format!("oras pull{plain} {reference} -o {folder}"), note: "" }
}

/// Ollama knows exactly `host/namespace/model:tag`.
fn ollama(origin: &Origin, subject: &Subject<'_>) -> Option<Command> {
    let (_, tag, id) = (subject.gguf?, subject.tag?, hub_id(subject.repo)?);
    let (namespace, model) = id.split_once('/')?;
    if namespace.contains('.') || [namespace, model, tag].iter().any(|part| part.len() > 80) {
        return None;
    }
    let name = format!("{}/{id}:{tag}", origin.host);
    let insecure = if origin.secure { "" } else { " --insecure" };
    let text = format!("ollama pull{insecure} {name}\nollama run {name}");
    Some(Command { tool: "Ollama", text, note: "" })
}

fn reference(origin: &Origin, subject: &Subject<'_>) -> String {
    match subject.tag {
        Some(tag) => format!("{}/{}:{tag}", origin.host, subject.repo),
        None => format!("{}/{}@{}", origin.host, subject.repo, subject.digest),
    }
}

/// `mdl` speaks plain HTTP on loopback by itself.
fn mdl_plain(origin: &Origin) -> &'static str {
    if origin.secure || origin.is_loopback() { "" } else { " --plain-http" }
}

/// A model of the Hub has one namespace and one name.
fn hub_id(repo: &Name) -> Option<&str> {
    (repo.as_str().matches('/').count() == 1).then_some(repo.as_str())
}

/// The last part of a name, for a folder.
fn folder(repo: &Name) -> &str {
    repo.as_str().rsplit('/').next().unwrap_or_default()
}

/// For a POSIX shell.
fn quoted(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-+@:".contains(&byte);
    if text.bytes().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(host: &str, secure: bool, repo: &str, tag: Option<&str>, gguf: bool) -> Vec<String> {
        let origin = Origin { host: host.to_owned(), secure };
        let repo = repo.parse().unwrap();
        let subject = Subject {
            repo: &repo,
            tag,
            digest: "sha256:00",
            commit: "00ff",
            is_main: tag == Some("latest"),
            gguf: gguf.then_some("it's.gguf"),
            is_folder: !gguf,
        };
        pull(&origin, &subject).into_iter().map(|it| format!("{}: {}", it.tool, it.text)).collect()
    }

    #[test]
    fn commands_name_the_host_and_suit_the_scheme() {
        let all = texts("127.0.0.1:5050", false, "team/tiny", Some("latest"), true);
        assert_eq!(
            all,
            [
                "mdl: mdl pull 127.0.0.1:5050/team/tiny:latest --to tiny",
                "oras: oras pull --plain-http 127.0.0.1:5050/team/tiny:latest -o tiny",
                "Ollama: ollama pull --insecure 127.0.0.1:5050/team/tiny:latest\n\
                 ollama run 127.0.0.1:5050/team/tiny:latest",
                "huggingface_hub: HF_ENDPOINT=http://127.0.0.1:5050 hf download team/tiny --local-dir tiny",
                "vLLM: HF_ENDPOINT=http://127.0.0.1:5050 hf download team/tiny --local-dir tiny\n\
                 vllm serve 'tiny/it'\\''s.gguf'",
                "llama.cpp: HF_ENDPOINT=http://127.0.0.1:5050 llama-server -hf team/tiny",
            ]
        );
        let all = texts("models.example.org", true, "team/tiny", Some("v2"), false);
        assert!(
            all.contains(
                &"vLLM: HF_ENDPOINT=https://models.example.org vllm serve team/tiny --revision v2"
                    .to_owned()
            )
        );
        assert!(
            !all.iter().any(|text| text.contains("ollama") || text.contains("plain")),
            "{all:?}"
        );
        let all = texts("10.0.0.5:80", false, "team/tiny", None, true);
        assert_eq!(all[0], "mdl: mdl pull --plain-http 10.0.0.5:80/team/tiny@sha256:00 --to tiny");
    }

    #[test]
    fn clients_that_cannot_name_a_model_are_left_out() {
        for repo in ["tiny", "a/b/tiny"] {
            let all = texts("h:1", true, repo, Some("latest"), true);
            assert_eq!(all.len(), 2, "{all:?}");
        }
        let all = texts("h:1", true, "my.team/tiny", Some("latest"), true);
        assert!(!all.iter().any(|text| text.starts_with("Ollama")), "{all:?}");
    }
}
