//! Templates of families, for models whose own template cannot be rendered here or is no plain sequence of turns.

use super::turns::Turns;

/// A family's turns, and what its templates hold.
#[derive(Debug)]
pub(super) struct Family {
    pub(super) name: &'static str,
    /// Texts that a chat template of this family holds, all of them.
    marks: &'static [&'static str],
    pub(super) turns: Turns<'static>,
}

/// Those that are known, the more special first.
pub(super) const FAMILIES: &[Family] = &[
    Family {
        name: "llama3",
        marks: &["<|start_header_id|>", "<|eot_id|>"],
        turns: Turns {
            begin: "<|start_header_id|>user<|end_header_id|>\n\n",
            system: [
                "<|start_header_id|>system<|end_header_id|>\n\n",
                "<|eot_id|><|start_header_id|>user<|end_header_id|>\n\n",
            ],
            answer: "<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n",
            question: "<|eot_id|><|start_header_id|>user<|end_header_id|>\n\n",
            last: "<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n",
        },
    },
    Family {
        name: "phi4",
        marks: &["<|im_start|>", "<|im_sep|>"],
        turns: Turns {
            begin: "<|im_start|>user<|im_sep|>",
            system: ["<|im_start|>system<|im_sep|>", "<|im_end|><|im_start|>user<|im_sep|>"],
            answer: "<|im_end|><|im_start|>assistant<|im_sep|>",
            question: "<|im_end|><|im_start|>user<|im_sep|>",
            last: "<|im_end|><|im_start|>assistant<|im_sep|>",
        },
    },
    Family {
        name: "chatml",
        marks: &["<|im_start|>", "<|im_end|>"],
        turns: Turns {
            begin: "<|im_start|>user\n",
            system: ["<|im_start|>system\n", "<|im_end|>\n<|im_start|>user\n"],
            answer: "<|im_end|>\n<|im_start|>assistant\n",
            question: "<|im_end|>\n<|im_start|>user\n",
            last: "<|im_end|>\n<|im_start|>assistant\n",
        },
    },
    Family {
        name: "gemma",
        marks: &["<start_of_turn>", "<end_of_turn>"],
        turns: Turns {
            begin: "<start_of_turn>user\n",
            system: ["<start_of_turn>user\n", "\n\n"],
            answer: "<end_of_turn>\n<start_of_turn>model\n",
            question: "<end_of_turn>\n<start_of_turn>user\n",
            last: "<end_of_turn>\n<start_of_turn>model\n",
        },
    },
    Family {
        name: "llama2",
        marks: &["[INST]", "<<SYS>>"],
        turns: Turns {
            begin: "[INST] ",
            system: ["[INST] <<SYS>>\n", "\n<</SYS>>\n\n"],
            answer: " [/INST] ",
            question: " </s><s>[INST] ",
            last: " [/INST]",
        },
    },
    Family {
        name: "mistral",
        marks: &["[INST]", "[/INST]"],
        turns: Turns {
            begin: "[INST] ",
            system: ["[INST] ", "\n\n"],
            answer: "[/INST] ",
            question: "</s>[INST] ",
            last: "[/INST]",
        },
    },
    Family {
        name: "phi3",
        marks: &["<|user|>", "<|end|>"],
        turns: Turns {
            begin: "<|user|>\n",
            system: ["<|system|>\n", "<|end|>\n<|user|>\n"],
            answer: "<|end|>\n<|assistant|>\n",
            question: "<|end|>\n<|user|>\n",
            last: "<|end|>\n<|assistant|>\n",
        },
    },
    Family {
        name: "granite",
        marks: &["<|start_of_role|>", "<|end_of_role|>"],
        turns: Turns {
            begin: "<|start_of_role|>user<|end_of_role|>",
            system: [
                "<|start_of_role|>system<|end_of_role|>",
                "<|end_of_text|>\n<|start_of_role|>user<|end_of_role|>",
            ],
            answer: "<|end_of_text|>\n<|start_of_role|>assistant<|end_of_role|>",
            question: "<|end_of_text|>\n<|start_of_role|>user<|end_of_role|>",
            last: "<|end_of_text|>\n<|start_of_role|>assistant<|end_of_role|>",
        },
    },
    Family {
        name: "command-r",
        marks: &["<|START_OF_TURN_TOKEN|>", "<|USER_TOKEN|>"],
        turns: Turns {
            begin: "<|START_OF_TURN_TOKEN|><|USER_TOKEN|>",
            system: [
                "<|START_OF_TURN_TOKEN|><|SYSTEM_TOKEN|>",
                "<|END_OF_TURN_TOKEN|><|START_OF_TURN_TOKEN|><|USER_TOKEN|>",
            ],
            answer: "<|END_OF_TURN_TOKEN|><|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>",
            question: "<|END_OF_TURN_TOKEN|><|START_OF_TURN_TOKEN|><|USER_TOKEN|>",
            last: "<|END_OF_TURN_TOKEN|><|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>",
        },
    },
    Family {
        name: "deepseek",
        marks: &["<｜User｜>", "<｜Assistant｜>"],
        turns: Turns {
            begin: "<｜User｜>",
            system: ["", "<｜User｜>"],
            answer: "<｜Assistant｜>",
            question: "<｜end▁of▁sentence｜><｜User｜>",
            last: "<｜Assistant｜>",
        },
    },
    Family {
        name: "zephyr",
        marks: &["<|user|>", "<|assistant|>", "eos_token"],
        turns: Turns {
            begin: "<|user|>\n",
            system: ["<|system|>\n", "</s>\n<|user|>\n"],
            answer: "</s>\n<|assistant|>\n",
            question: "</s>\n<|user|>\n",
            last: "</s>\n<|assistant|>\n",
        },
    },
];

/// The family whose templates look like this one.
pub(super) fn of(chat_template: &str) -> Option<&'static Family> {
    FAMILIES.iter().find(|family| family.marks.iter().all(|mark| chat_template.contains(mark)))
}
