//! Reading the configuration, once and again.

use super::{Globals, flag, repeated, text};
use crate::config::ReloadFile;
use crate::lower::Handler;

pub(in crate::lower) const RELOAD: &[Handler<Globals>] = &[
    Handler("reload_check_config", |globals, _, statement| {
        let log = statement.arguments.first().map_or("/dev/null", |word| &word.text);
        globals.defs.reload.check_config = Some(log.to_owned());
    }),
    Handler("reload_time_file", |globals, context, statement| {
        text(&mut globals.defs.reload.time_file, context, statement, "reload_time_file invalid");
    }),
    Handler("reload_repeat", |globals, context, statement| {
        flag(&mut globals.defs.reload.repeat, context, statement);
    }),
    Handler("reload_file", |globals, _, statement| {
        let path = statement.arguments.first().map(|word| ReloadFile::Path(word.text.clone()));
        globals.defs.reload.file = Some(path.unwrap_or(ReloadFile::Default));
    }),
    Handler("config_save_dir", |globals, context, statement| {
        context.set(&mut globals.defs.reload.config_save_dir, statement);
    }),
    Handler("tmp_config_directory", |globals, context, statement| {
        if let Some(word) = context.word(statement, "tmp_config_directory missing directory name")
            && !repeated(globals, context, statement, "tmp_config_directory already specified - ignoring")
        {
            globals.defs.reload.tmp_config_directory = Some(word.text.clone());
        }
    }),
    Handler("random_seed", |globals, context, statement| {
        let seed = context.number_with(statement, |text| format!("random_seed {text} invalid"));
        globals.defs.reload.random_seed = seed.or(globals.defs.reload.random_seed);
    }),
];
