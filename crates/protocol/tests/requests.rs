// SPDX-License-Identifier: Apache-2.0
//! Every typed request: its code is in the table under its own name, and its fields survive both header forms.

include!("requests/list.rs");

use std::path::Path;

use bytes::BytesMut;
use protocol::codes::{self, Since};
use protocol::frame::{self, Decoder};
use protocol::{DecodeError, Fields, Head, Header, Request, Serialization};

/// One request, its type forgotten.
struct Known {
    code: i32,
    name: &'static str,
    again: fn(&Fields, Serialization) -> Result<Fields, DecodeError>,
    reply_again: fn(&Fields) -> Result<Fields, DecodeError>,
}

/// Reads a request, writes it, and hands back what was written.
fn again<R: Request>(fields: &Fields, serialization: Serialization) -> Result<Fields, DecodeError> {
    let request = R::decode(fields)?;
    Ok(written(R::CODE, &request, serialization))
}

/// The same for the header of its answer.
fn reply_again<R: Request>(fields: &Fields) -> Result<Fields, DecodeError> {
    let reply = R::Reply::decode(fields)?;
    Ok(written(0, &reply, Serialization::Json))
}

fn written<H: Header>(code: i32, header: &H, serialization: Serialization) -> Fields {
    let mut out = BytesMut::new();
    let head = Head { code, serialization, ..Head::default() };
    frame::encode(&head, header, 0, &mut out).expect("it fits");
    Decoder::default().next(&mut out).expect("good").expect("whole").fields
}

fn all() -> Vec<Known> {
    macro_rules! known {
        ($($request:path),* $(,)?) => {
            vec![$(Known {
                code: <$request as Request>::CODE,
                name: <$request as Request>::NAME,
                again: again::<$request>,
                reply_again: reply_again::<$request>,
            }),*]
        };
    }
    every_request!(known)
}

/// The words of `GET_KV_CONFIG` and `GetKvConfig` are the same.
fn squeezed(name: &str) -> String {
    name.replace('_', "").to_lowercase()
}

#[test]
fn codes_and_names_are_those_of_the_table() {
    let ours_differs = [
        ("ConsumerSendMessageBack", "CONSUMER_SEND_MSG_BACK"),
        ("Heartbeat", "HEART_BEAT"),
        ("PushReplyMessage", "PUSH_REPLY_MESSAGE_TO_CLIENT"),
        ("GetRouteInfo", "GET_ROUTEINFO_BY_TOPIC"),
        ("WipeWritePermission", "WIPE_WRITE_PERM_OF_BROKER"),
        ("AddWritePermission", "ADD_WRITE_PERM_OF_BROKER"),
        ("DeleteTopicInNameServer", "DELETE_TOPIC_IN_NAMESRV"),
        ("GetSystemTopicListFromNameServer", "GET_SYSTEM_TOPIC_LIST_FROM_NS"),
        ("UpdateNameServerConfig", "UPDATE_NAMESRV_CONFIG"),
        ("GetNameServerConfig", "GET_NAMESRV_CONFIG"),
        ("RegisterTopic", "REGISTER_TOPIC_IN_NAMESRV"),
        ("SearchOffset", "SEARCH_OFFSET_BY_TIMESTAMP"),
        ("GetEarliestStoreTime", "GET_EARLIEST_MSG_STORETIME"),
        ("LockBatchQueues", "LOCK_BATCH_MQ"),
        ("UnlockBatchQueues", "UNLOCK_BATCH_MQ"),
        ("UpdateColdDataFlowControl", "UPDATE_COLD_DATA_FLOW_CTR_CONFIG"),
        ("RemoveColdDataFlowControl", "REMOVE_COLD_DATA_FLOW_CTR_CONFIG"),
        ("GetColdDataFlowControl", "GET_COLD_DATA_FLOW_CTR_INFO"),
    ];
    for known in all() {
        let info = codes::lookup(known.code).unwrap_or_else(|| panic!("{} is not in the table", known.code));
        let wanted =
            ours_differs.iter().find(|(ours, _)| *ours == known.name).map_or(known.name, |(_, name)| name);
        assert_eq!(squeezed(info.name), squeezed(wanted), "{} {}", known.code, known.name);
    }
}

#[test]
fn the_list_holds_every_request() {
    fn declared(folder: &Path, names: &mut Vec<String>) {
        for entry in std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path())
        {
            if entry.is_dir() {
                declared(&entry, names);
            } else if !entry.ends_with("src/request.rs") {
                let text = std::fs::read_to_string(&entry).expect("a source file");
                let requests = text.lines().filter(|line| line.contains(" -> ") && line.contains(" = "));
                let code = |line: &str| {
                    line.split(" = ").nth(1).and_then(|rest| rest.split(' ').next()?.parse::<i32>().ok())
                };
                names.extend(
                    requests
                        .filter(|line| code(line).is_some())
                        .map(|line| line.trim().split(" = ").next().expect("a name").to_owned()),
                );
            }
        }
    }
    let mut names = Vec::new();
    declared(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut names);
    let mut listed: Vec<_> = all().iter().map(|known| known.name.to_owned()).collect();
    names.sort();
    listed.sort();
    assert_eq!(names, listed);
    assert!(listed.len() > 80);
}

/// A header that writes every field name any request knows, all with the value 7.
struct Sevens(Vec<String>);

impl Header for Sevens {
    fn decode(_: &Fields) -> Result<Sevens, DecodeError> {
        Ok(Sevens(Vec::new()))
    }
    fn encode(&self, out: &mut protocol::FieldsOut<'_>) {
        self.0.iter().for_each(|name| out.put_text(name, "7"));
    }
}

/// Every name in quotes after an equals sign in our sources, which covers all field names.
fn field_names() -> Vec<String> {
    let mut names = Vec::new();
    for folder in ["src", "src/admin"] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
        for file in std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path())
        {
            let text = if file.is_file() { std::fs::read_to_string(&file).expect("text") } else { continue };
            names.extend(
                text.split(" = \"").skip(1).filter_map(|rest| rest.split('"').next()).map(str::to_owned),
            );
        }
    }
    names.sort();
    names.dedup();
    names
}

#[test]
fn every_request_is_written_as_it_is_read_in_both_forms() {
    let names = field_names();
    for known in all() {
        for form in [Serialization::Json, Serialization::RocketMq] {
            let sevens = written(10, &Sevens(names.clone()), form);
            let first = (known.again)(&sevens, form).unwrap_or_else(|e| panic!("{}: {e}", known.name));
            let second = (known.again)(&first, form).unwrap_or_else(|e| panic!("{}: {e}", known.name));
            assert_eq!(format!("{first:?}"), format!("{second:?}"), "{}", known.name);
        }
    }
}

#[test]
fn a_request_without_fields_is_refused_by_the_name_of_a_field_or_read() {
    for known in all() {
        if let Err(refused) = (known.again)(&Fields::default(), Serialization::Json) {
            let text = refused.to_string();
            assert!(
                text.starts_with("required field ") && text.ends_with(" is missing (at byte 0)"),
                "{text}"
            );
        }
    }
}

/// What Apache's header classes do not declare, because its servers and clients add it by hand.
const BY_HAND: [(i32, &str); 7] = [
    (12, "_UNIQUE_KEY_QUERY"),
    (34, "IS_SUB_CHANGE"),
    (34, "IS_SUPPORT_HEART_BEAT_V2"),
    (39, "bname"),
    (2004, "READ_AHEAD_MODE"),
    (ANY, "MSG_REGION"),
    (ANY, "TRACE_ON"),
];

/// Optional fields of our own, which Apache's servers pass over: how often an orderly consumer says that it failed.
const OURS: [(i32, &str); 1] = [(36, "reconsumeTimes")];

/// Stands for every code.
const ANY: i32 = 0;

/// What we have no use for: lite topics, and the broker's name that only a proxy looks at.
const UNUSED: [&str; 2] = ["liteTopic", "n"];

#[test]
fn field_names_are_those_of_apache() {
    let sevens = written(10, &Sevens(field_names()), Serialization::Json);
    // listed from the header classes of rocketmq-remoting 5.5.0 with javap: code, request's fields, answer's fields
    let golden = include_str!("requests/fields-5.5.0.txt");
    let is_theirs = |code: i32| codes::lookup(code).is_some_and(|info| info.since != Since::Own);
    for known in all().into_iter().filter(|known| is_theirs(known.code)) {
        let code = known.code.to_string();
        let line = golden.lines().filter_map(|line| line.split_once(": ")).find(|(found, _)| *found == code);
        let (_, lists) = line.unwrap_or_else(|| panic!("tests/requests/fields-5.5.0.txt lacks {code}"));
        let (request, reply) = lists.split_once(" -> ").expect("two lists");
        let ours = |fields: Result<Fields, DecodeError>| {
            let mut names: Vec<_> =
                fields.expect("sevens fit").iter().map(|f| f.expect("good").0.to_string()).collect();
            let is_extra = |name: &str| {
                BY_HAND.iter().chain(&OURS).any(|(c, n)| (*c == known.code || *c == ANY) && *n == name)
            };
            names.retain(|name| !is_extra(name));
            names.sort();
            names
        };
        let theirs = |list: &str| -> Vec<_> {
            list.split(' ').filter(|name| *name != "-" && !UNUSED.contains(name)).map(str::to_owned).collect()
        };
        assert_eq!(
            ours((known.again)(&sevens, Serialization::Json)),
            theirs(request),
            "{code} {}",
            known.name
        );
        assert_eq!(ours((known.reply_again)(&sevens)), theirs(reply), "answer to {code} {}", known.name);
    }
}
