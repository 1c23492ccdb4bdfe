//! JavaScript's plain objects, made by hand: a serializer would weigh more than what is made here.

use js_sys::{Object, Reflect};
use wasm_bindgen::JsValue;

pub(crate) fn object(fields: &[(&str, JsValue)]) -> Object {
    let object = Object::new();
    for (name, value) in fields {
        set(&object, name, value);
    }
    object
}

pub(crate) fn set(object: &Object, name: &str, value: &JsValue) {
    let _ = Reflect::set(object, &name.into(), value); // fails for a frozen object only
}
