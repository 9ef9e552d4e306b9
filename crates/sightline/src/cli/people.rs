//! `sightline link`, `sightline user` and `sightline token`: the accounts of the page, for whoever has an account of the machine.
//!
//! A running server is asked by its API, with the admin's token of the state folder. Where none runs, the file is changed itself, while nobody else uses the folder.

use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::Duration;

use clap::{Args, Subcommand};
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Method};
use media::Clock as _;
use serde_json::{Value, json};
use url::Url;

use super::{Failure, StateFolder, password, print};
use crate::auth::people::{Change, LONGEST_TOKEN_US, Link, LinkKind, TOKEN_US, Token, User};
use crate::auth::{Role, Streams, secrets};
use crate::clock::SystemClock;
use crate::config::{Environment, Loaded};
use crate::fetch::{Client, Policy, Request, anywhere};
use crate::secret::Secret;
use crate::state::control::Control;
use crate::state::{self, Folder};
use crate::trust::Trust;

/// Make a one-time link by which an admin makes themselves an account, for half an hour
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  sightline link
  sudo -u sightline sightline link --state-dir /var/lib/sightline

While there is no admin, it makes the first. Later it invites another one.")]
pub(super) struct MakeLink {
    #[command(flatten)]
    folder: StateFolder,
}

/// List, add, reset and disable the users that were made in the page
#[derive(Debug, Args)]
#[command(
    arg_required_else_help = true,
    after_help = "Examples:
  sightline user list
  sightline user add anna --role viewer --stream door
  sightline user reset anna
  sightline user disable anna

A password is typed, read from standard input, or taken from SIGHTLINE_PASSWORD."
)]
pub(super) struct Users {
    #[command(subcommand)]
    command: UserCommand,
}

#[derive(Debug, Subcommand)]
enum UserCommand {
    /// List the users
    #[command(after_help = "Examples:\n  sightline user list\n  sightline user list --state-dir /var/lib/sightline")]
    List {
        #[command(flatten)]
        folder: StateFolder,
    },
    /// Add a user
    #[command(after_help = "Examples:\n  sightline user add anna --role viewer --stream door --stream '~^yard/'")]
    Add {
        /// What it is called
        name: String,
        /// admin, operator, publisher, viewer, or one that was made
        #[arg(long, default_value = "viewer")]
        role: String,
        /// A stream, or an expression such as ~^yard/, again and again [default: all]
        #[arg(long = "stream", value_name = "STREAM")]
        streams: Vec<String>,
        #[command(flatten)]
        folder: StateFolder,
    },
    /// Set another password, and let a user in again that was disabled; sessions of the one before end
    #[command(after_help = "Examples:\n  sightline user reset anna")]
    Reset {
        /// Whose
        name: String,
        #[command(flatten)]
        folder: StateFolder,
    },
    /// Let a user in no longer; whatever let it in ends
    #[command(after_help = "Examples:\n  sightline user disable anna")]
    Disable {
        /// Whom
        name: String,
        #[command(flatten)]
        folder: StateFolder,
    },
}

/// Make API tokens for programs
#[derive(Debug, Args)]
#[command(
    arg_required_else_help = true,
    after_help = "Examples:
  sightline token add --user anna --name doorbell --rights \"view door\"
  ffplay \"rtsp://pi.local:8554/door?token=slt_…\""
)]
pub(super) struct Tokens {
    #[command(subcommand)]
    command: TokenCommand,
}

#[derive(Debug, Subcommand)]
enum TokenCommand {
    /// Make one; it is shown once
    #[command(after_help = "Examples:\n  sightline token add --user anna --name doorbell --rights \"view door\"")]
    Add {
        /// Whose: it may never more than they may
        #[arg(long)]
        user: String,
        /// What it is for
        #[arg(long)]
        name: String,
        /// Such as viewer, "view,replay door", "publish ~^yard/" [default: all that the user may]
        #[arg(long)]
        rights: Option<String>,
        /// After how many days it ends
        #[arg(long, value_name = "DAYS", default_value_t = 90)]
        ends: u32,
        #[command(flatten)]
        folder: StateFolder,
    },
}

impl MakeLink {
    pub(super) fn run(self) -> Result<(), Failure> {
        let way = Way::find(self.folder)?;
        let path = match &way.by {
            By::Server(_) => {
                let made = way.ask(Method::POST, "api/v1/invitations", Some(json!({ "first_run": true })))?;
                made["path"].as_str().unwrap_or_default().to_owned()
            }
            By::File(control, _) => {
                let (code, sum) = secrets::code().map_err(Failure::running)?;
                let kind = if control.now().has_admin() {
                    LinkKind::Invitation
                } else {
                    LinkKind::FirstRun
                };
                let link = Link {
                    sum,
                    kind,
                    role: Role::Admin.name().into(),
                    streams: vec![Streams::All],
                    by: None,
                    ends_at: SystemClock.wall().offset_micros(30 * 60 * 1_000_000),
                    uses_left: 1,
                    hash: None,
                };
                change(control, Change::AddLink(Arc::new(link)))?;
                format!("{}#{}", kind.page(), code.expose())
            }
        };
        print(&format!(
            "{}{path}\n\nWhoever opens it makes themselves an account that may do everything. It is good once, for 30 minutes.\n{}",
            way.url,
            way.not_running("Start the server, then open it.\n")
        ))
    }
}

impl Users {
    pub(super) fn run(self) -> Result<(), Failure> {
        match self.command {
            UserCommand::List { folder } => list(&Way::find(folder)?),
            UserCommand::Add {
                name,
                role,
                streams,
                folder,
            } => add(&Way::find(folder)?, &name, &role, &streams),
            UserCommand::Reset { name, folder } => {
                let way = Way::find(folder)?;
                let secret = new_password(&name)?;
                match &way.by {
                    By::Server(_) => {
                        let body = json!({ "password": secret.expose(), "disabled": false });
                        way.ask(Method::PATCH, &path_of(&name), Some(body))?;
                    }
                    By::File(control, _) => {
                        let user = user(control, &name)?;
                        let hash = secrets::hash(secret.expose()).map_err(Failure::running)?;
                        change(control, set(&user, false))?;
                        let reset = Change::SetPassword {
                            user: user.id,
                            hash: Arc::new(hash),
                            but: None,
                        };
                        change(control, reset)?;
                    }
                }
                print(&format!("{name} has another password.\n"))
            }
            UserCommand::Disable { name, folder } => {
                let way = Way::find(folder)?;
                match &way.by {
                    By::Server(_) => {
                        way.ask(Method::PATCH, &path_of(&name), Some(json!({ "disabled": true })))?;
                    }
                    By::File(control, _) => {
                        let user = user(control, &name)?;
                        change(control, set(&user, true))?;
                    }
                }
                print(&format!(
                    "{name} is let in no longer; `sightline user reset {name}` lets them in again.\n"
                ))
            }
        }
    }
}

fn list(way: &Way) -> Result<(), Failure> {
    let mut text = String::new();
    let mut line = |name: &str, role: &str, streams: &str, more: &str| {
        text.push_str(&format!("{name:<24} {role:<12} {streams:<24} {more}\n"));
    };
    line("NAME", "ROLE", "STREAMS", "");
    match &way.by {
        By::Server(_) => {
            let users = way.ask(Method::GET, "api/v1/users", None)?;
            for user in users.as_array().into_iter().flatten() {
                let text = |key: &str| user[key].as_str().unwrap_or("-").to_owned();
                let streams: Vec<&str> = user["streams"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .filter_map(Value::as_str)
                    .collect();
                let more = match (user["disabled"] == true, user["in_file"] == true) {
                    (true, _) => "disabled",
                    (_, true) => "in the settings",
                    _ => "",
                };
                line(&text("name"), &text("role"), &streams.join(" "), more);
            }
        }
        By::File(control, _) => {
            for user in control.now().users() {
                let streams: Vec<String> = user.streams.iter().map(ToString::to_string).collect();
                let more = if user.disabled { "disabled" } else { "" };
                line(&user.name, &user.role, &streams.join(" "), more);
            }
        }
    }
    print(&text)
}

fn add(way: &Way, name: &str, role: &str, streams: &[String]) -> Result<(), Failure> {
    let secret = new_password(name)?;
    match &way.by {
        By::Server(_) => {
            let mut body = json!({ "name": name, "password": secret.expose(), "role": role });
            if !streams.is_empty() {
                body["streams"] = json!(streams);
            }
            way.ask(Method::POST, "api/v1/users", Some(body))?;
        }
        By::File(control, _) => {
            let named = streams.iter().map(|word| word.parse::<Streams>());
            let mut named = named
                .collect::<Result<Vec<_>, _>>()
                .map_err(|error| Failure::Usage(error.to_string()))?;
            if named.is_empty() {
                named.push(Streams::All);
            }
            let add = Change::AddUser {
                name: name.into(),
                hash: Some(Arc::new(secrets::hash(secret.expose()).map_err(Failure::running)?)),
                role: role.into(),
                streams: named,
                at: SystemClock.wall(),
            };
            change(control, add)?;
        }
    }
    print(&format!("{name} can sign in now, as {role}.\n"))
}

impl Tokens {
    pub(super) fn run(self) -> Result<(), Failure> {
        let TokenCommand::Add {
            user: name,
            name: what,
            rights,
            ends,
            folder,
        } = self.command;
        let way = Way::find(folder)?;
        let token = match &way.by {
            By::Server(_) => {
                let body = json!({ "name": what, "rights": rights, "days": ends });
                let made = way.ask(Method::POST, &format!("{}/tokens", path_of(&name)), Some(body))?;
                made["token"].as_str().unwrap_or_default().to_owned()
            }
            By::File(control, _) => {
                let rights = rights.as_deref().unwrap_or("admin").parse();
                let (secret, sum) = secrets::token().map_err(Failure::running)?;
                let now = SystemClock.wall();
                let life = match ends {
                    0 => TOKEN_US,
                    days => i64::from(days).saturating_mul(86_400_000_000).min(LONGEST_TOKEN_US),
                };
                let token = Token {
                    sum,
                    user: user(control, &name)?.id,
                    name: what.into(),
                    rights: rights.map_err(|error: crate::auth::InvalidRights| Failure::Usage(error.to_string()))?,
                    networks: Vec::new(),
                    made_at: now,
                    ends_at: now.offset_micros(life),
                    used_us: AtomicI64::new(0),
                };
                change(control, Change::AddToken(Arc::new(token)))?;
                secret.expose().to_owned()
            }
        };
        print(&format!("{token}\n"))
    }
}

fn path_of(name: &str) -> String {
    let name = percent_encoding::utf8_percent_encode(name, percent_encoding::NON_ALPHANUMERIC);
    format!("api/v1/users/{name}")
}

fn new_password(name: &str) -> Result<Secret, Failure> {
    let secret = password::ask(name, "SIGHTLINE_PASSWORD", &Environment::of_process())?;
    let checked = secrets::check_password(secret.expose(), name);
    checked.map_err(|weak| Failure::Usage(weak.to_string()))?;
    Ok(secret)
}

fn user(control: &Control, name: &str) -> Result<Arc<User>, Failure> {
    let user = control.now().named(name).cloned();
    user.ok_or_else(|| Failure::Usage(format!("there is no user {name:?}; `sightline user list` shows them")))
}

fn set(user: &User, disabled: bool) -> Change {
    Change::SetUser {
        user: user.id,
        role: user.role.clone(),
        streams: user.streams.clone(),
        disabled,
    }
}

fn change(control: &Control, change: Change) -> Result<(), Failure> {
    control.change_now(change).map_err(Failure::running)
}

/// How the accounts are reached.
struct Way {
    by: By,
    /// Of the server's pages.
    url: Url,
}

enum By {
    /// Its token.
    Server(Secret),
    File(
        Control,
        #[expect(dead_code, reason = "nobody else uses the folder meanwhile")] state::InUse,
    ),
}

impl Way {
    fn find(folder: StateFolder) -> Result<Self, Failure> {
        let (loaded, path) = folder.find()?;
        let url = url(&loaded)?;
        let folder = Folder::open(path).map_err(Failure::running)?;
        let by = match folder.use_alone().map_err(Failure::running)? {
            Some(alone) => {
                let control = Control::open(folder.path(), Arc::new(SystemClock)).map_err(Failure::running)?;
                By::File(control, alone)
            }
            None => {
                let own = loaded.settings.auth.token;
                let made = || state::of_this_machine(folder.path()).map(|tokens| tokens.admin);
                let token = own.or_else(made).ok_or_else(|| {
                    let folder = folder.path().display();
                    Failure::Running(format!(
                        "a server uses {folder}, and its token cannot be read there; run this as the user of the server"
                    ))
                })?;
                By::Server(token)
            }
        };
        Ok(Self { by, url })
    }

    fn not_running<'a>(&self, text: &'a str) -> &'a str {
        match self.by {
            By::Server(_) => "",
            By::File(..) => text,
        }
    }

    /// Asks the server that runs.
    fn ask(&self, method: Method, path: &str, body: Option<Value>) -> Result<Value, Failure> {
        let By::Server(token) = &self.by else {
            return Err(Failure::Running("no server runs".to_owned()));
        };
        let url = self.url.join(path).map_err(Failure::running)?;
        let mut request = Request::get(url);
        request.method = method;
        let mut authorization =
            HeaderValue::try_from(format!("Bearer {}", token.expose())).map_err(Failure::running)?;
        authorization.set_sensitive(true);
        request.headers.insert(AUTHORIZATION, authorization);
        if let Some(body) = body {
            request
                .headers
                .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            request.body = body.to_string().into();
        }
        let client = Client::new(Policy {
            trust: Trust::System,
            may_connect: anywhere,
            redirects: 0,
            timeout: PATIENCE,
        });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let answered = runtime.map_err(Failure::running)?.block_on(async {
            let response = client.send(request).await?;
            let status = response.status;
            Ok::<_, crate::fetch::FetchError>((status, response.bytes(MOST_BYTES).await?))
        });
        let (status, bytes) = answered.map_err(|error| {
            Failure::Running(format!(
                "{error}; a server uses the state folder, and is expected there"
            ))
        })?;
        let value: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        match status.is_success() {
            true => Ok(value),
            false => {
                let why = |key: &str| value[key].as_str().unwrap_or_default().to_owned();
                Err(Failure::Running(format!("{}; {}", why("detail"), why("next"))))
            }
        }
    }
}

/// Where the server of these settings is.
fn url(loaded: &Loaded) -> Result<Url, Failure> {
    let host = loaded.settings.server.host.map_or_else(
        || "127.0.0.1".to_owned(),
        |host| match host.0 {
            std::net::IpAddr::V6(address) => format!("[{address}]"),
            address => address.to_string(),
        },
    );
    let url = format!("http://{host}:{}/", loaded.settings.http.port);
    url.parse().map_err(Failure::running)
}

const PATIENCE: Duration = Duration::from_secs(10);
const MOST_BYTES: usize = 16 << 20;
