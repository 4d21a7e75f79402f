//! The routes: the `google.api.http` annotations of the proto, and the search for the one that a request means.

use std::borrow::Cow;
use std::sync::Arc;

use http::Method;
use percent_encoding::percent_decode_str;
use prost_reflect::{
    DescriptorPool, DynamicMessage, FieldDescriptor, MessageDescriptor, MethodDescriptor, Value,
};

/// The annotation of a method.
const HTTP_RULE: &str = "google.api.http";
/// The fields of a `google.api.HttpRule` that name a path.
const VERBS: [(&str, Method); 5] = [
    ("get", Method::GET),
    ("put", Method::PUT),
    ("post", Method::POST),
    ("delete", Method::DELETE),
    ("patch", Method::PATCH),
];

/// One way to call a method of the API by HTTP.
#[derive(Debug, Clone)]
pub(super) struct Route {
    /// The verb.
    pub(super) verb: Method,
    /// Where it is.
    pub(super) template: Template,
    /// Whether the body has all fields that are not in the path. Otherwise, the query has them.
    pub(super) has_body: bool,
    /// The method.
    pub(super) method: MethodDescriptor,
    /// The method, as in `/videosession.v1.VideoSessionService/GetSession`.
    pub(super) grpc_path: &'static str,
}

/// A path with variables, as in `/v1/sessions/{session_id}:join`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Template {
    /// As it is written in the proto.
    pub(super) text: String,
    segments: Vec<Segment>,
    /// What follows the last segment after a colon.
    suffix: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Segment {
    Fixed(String),
    /// The value of this field.
    Variable(String),
}

/// The values of a path's variables, by the fields' names.
pub(super) type Variables = Vec<(String, String)>;

/// What a request's path and verb mean.
pub(super) enum Found<'a> {
    /// A method.
    Route(&'a Arc<Route>, Variables),
    /// The path exists, with these verbs.
    OtherVerbs(Vec<Method>),
    /// There is no such path.
    Nothing,
}

impl Route {
    /// The message that the method takes.
    pub(super) fn input(&self) -> MessageDescriptor {
        self.method.input()
    }

    /// Whether a field comes from somewhere else than the path. The other fields of a variable's oneof cannot be set.
    pub(super) fn is_free(&self, field: &FieldDescriptor) -> bool {
        let input = self.input();
        let variables = self.template.variables();
        !variables
            .filter_map(|name| input.get_field_by_name(name))
            .any(|variable| {
                let oneof = variable.containing_oneof();
                variable == *field || (oneof.is_some() && oneof == field.containing_oneof())
            })
    }
}

impl Template {
    fn read(text: &str) -> Self {
        let (path, suffix) = match text.rsplit_once(':') {
            Some((path, suffix)) => (path, Some(suffix.to_owned())),
            None => (text, None),
        };
        let segments = path.split('/').skip(1).map(|segment| {
            let name = segment
                .strip_prefix('{')
                .and_then(|rest| rest.strip_suffix('}'));
            match name {
                Some(name) => Segment::Variable(name.to_owned()),
                None => Segment::Fixed(segment.to_owned()),
            }
        });
        Self {
            text: text.to_owned(),
            segments: segments.collect(),
            suffix,
        }
    }

    /// The names of the fields in it.
    pub(super) fn variables(&self) -> impl Iterator<Item = &str> {
        self.segments.iter().filter_map(|segment| match segment {
            Segment::Variable(name) => Some(name.as_str()),
            Segment::Fixed(_) => None,
        })
    }

    /// The values of the variables if `path` fits.
    fn values(&self, path: &str) -> Option<Variables> {
        match &self.suffix {
            Some(suffix) => {
                self.values_of_stem(path.strip_suffix(suffix.as_str())?.strip_suffix(':')?)
            }
            None => self.values_of_stem(path),
        }
    }

    fn values_of_stem(&self, path: &str) -> Option<Variables> {
        let mut given = path.strip_prefix('/')?.split('/');
        let mut values = Variables::new();
        for segment in &self.segments {
            let given = given.next()?;
            match segment {
                Segment::Fixed(text) => {
                    if text != given {
                        return None;
                    }
                }
                Segment::Variable(name) => values.push((name.clone(), decoded(given)?)),
            }
        }
        given.next().is_none().then_some(values)
    }
}

fn decoded(segment: &str) -> Option<String> {
    let text = percent_decode_str(segment).decode_utf8().ok()?;
    Some(text)
        .filter(|text| !text.is_empty())
        .map(Cow::into_owned)
}

/// Every route of the methods in `pool`.
pub(super) fn routes(pool: &DescriptorPool) -> Vec<Arc<Route>> {
    let methods = pool
        .services()
        .flat_map(|service| service.methods().collect::<Vec<_>>());
    let routes = methods.flat_map(|method| routes_of(pool, &method));
    routes.map(Arc::new).collect()
}

fn routes_of(pool: &DescriptorPool, method: &MethodDescriptor) -> Vec<Route> {
    let Some(extension) = pool.get_extension_by_name(HTTP_RULE) else {
        return Vec::new();
    };
    let options = method.options();
    if !options.has_extension(&extension) {
        return Vec::new();
    }
    let Value::Message(rule) = options.get_extension(&extension).into_owned() else {
        return Vec::new();
    };
    let further = rule.get_field_by_name("additional_bindings");
    let further = further
        .as_deref()
        .and_then(Value::as_list)
        .unwrap_or_default();
    let further = further.iter().filter_map(Value::as_message);
    let path = format!("/{}/{}", method.parent_service().full_name(), method.name());
    let grpc_path: &'static str = path.leak();
    std::iter::once(&rule)
        .chain(further)
        .filter_map(|rule| {
            let (verb, path) = verb_and_path(rule)?;
            Some(Route {
                verb,
                template: Template::read(&path),
                has_body: !text_of(rule, "body").unwrap_or_default().is_empty(),
                method: method.clone(),
                grpc_path,
            })
        })
        .collect()
}

fn verb_and_path(rule: &DynamicMessage) -> Option<(Method, String)> {
    VERBS.into_iter().find_map(|(name, verb)| {
        let path = text_of(rule, name)?;
        (!path.is_empty()).then_some((verb, path))
    })
}

fn text_of(rule: &DynamicMessage, field: &str) -> Option<String> {
    let value = rule.get_field_by_name(field)?;
    value.as_str().map(ToOwned::to_owned)
}

/// The route that a request means. Where methods have suffixes, what follows a colon is one: an id has `%3A` there.
pub(super) fn find<'a>(routes: &'a [Arc<Route>], verb: &Method, path: &str) -> Found<'a> {
    let stem = path.rsplit_once(':').map(|(stem, _)| stem);
    let has_suffix = routes.iter().map(|route| &route.template).any(|template| {
        template.suffix.is_some()
            && stem.is_some_and(|stem| template.values_of_stem(stem).is_some())
    });
    let mut others = Vec::new();
    for route in routes {
        if has_suffix && route.template.suffix.is_none() {
            continue;
        }
        let Some(variables) = route.template.values(path) else {
            continue;
        };
        if route.verb == *verb {
            return Found::Route(route, variables);
        }
        if !others.contains(&route.verb) {
            others.push(route.verb.clone());
        }
    }
    if others.is_empty() {
        Found::Nothing
    } else {
        Found::OtherVerbs(others)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(template: &str, path: &str) -> Option<Vec<String>> {
        let values = Template::read(template).values(path)?;
        Some(values.into_iter().map(|(_, value)| value).collect())
    }

    #[test]
    fn a_path_fits_its_template_only() {
        let join = "/v1/sessions/{session_id}:join";
        assert_eq!(
            values(join, "/v1/sessions/a:join"),
            Some(vec!["a".to_owned()])
        );
        assert_eq!(
            values(join, "/v1/sessions/a%3Ab%2F:join"),
            Some(vec!["a:b/".to_owned()])
        );
        for other in [
            "/v1/sessions/a",
            "/v1/sessions/:join",
            "/v1/sessions/a/b:join",
            "/v1/sessions/a:join/",
            "/v1/sessions/a:joins",
            "v1/sessions/a:join",
            "/v1/sessions/%ff:join",
        ] {
            assert_eq!(values(join, other), None, "{other}");
        }
        let participant = "/v1/sessions/{session_id}/participants/{user_id}:admit";
        let found = values(participant, "/v1/sessions/s/participants/user:1:admit");
        assert_eq!(found, Some(vec!["s".to_owned(), "user:1".to_owned()]));
        assert_eq!(values("/v1/nodes", "/v1/nodes"), Some(Vec::new()));
        assert_eq!(values("/v1/nodes", "/v1/nodes/"), None);
    }
}
