"""Questions about a bank; what a template holds is told in `tmcli/templates.py`."""

from typing import Any


def _find(slot: str) -> tuple[str, dict[str, Any]]:
    return ("find_account", {"holder": f"{{{slot}[holder]}}", "account_kind": f"{{{slot}[account_kind]}}"})


FIND, FIND_A, FIND_B = _find("account"), _find("a"), _find("b")
FIRST = {"account_id": (0, "account_id")}
EUROS = {"amount_eur": "{euros}"}
SEND = (
    "send_transfer",
    {"from_account": (0, "account_id"), "to_account": (1, "account_id"), **EUROS},
)

EUR = list(range(20, 500))
MONTHS = list(range(3, 61))
CURRENCIES = ["USD", "GBP", "CHF", "SEK", "PLN", "CZK"]

TEMPLATES: list[dict[str, Any]] = [
    {
        "given": {"euros": EUR, "currency": CURRENCIES},
        "ask": [
            "How many {currency} do I get for {euros} euros?",
            "Change {euros} euros into {currency}: how much is that?",
            "What are {euros} euros worth in {currency} at this bank?",
        ],
        "plan": [("exchange_euros", {**EUROS, "currency": "{currency}"})],
        "answer": "amount",
    },
    {
        "given": {"euros": EUR, "months": MONTHS},
        "ask": [
            "How much interest, in euros, do {euros} euros of savings bring in {months} months?",
            "I save {euros} euros for {months} months. What is the interest in euros?",
            "What interest in euros does the bank pay on {euros} euros over {months} months?",
        ],
        "plan": [("savings_interest", {**EUROS, "months": "{months}"})],
        "answer": "interest_eur",
    },
    {
        "given": {"account": "accounts"},
        "ask": [
            "Who received the latest payment from account {account[id]}?",
            "To whom did account {account[id]} pay money last?",
            "Name the payee of the most recent payment from account {account[id]}.",
        ],
        "plan": [("payments_from", {"account_id": "{account[id]}"})],
        "answer": (0, "payments", 0, "payee"),
    },
    {
        "given": {"account": "accounts"},
        "ask": [
            "How many euros have been paid from account {account[id]} since {account[since]}?",
            "Add up the payments from account {account[id]} on and after {account[since]}, in euros.",
            "What is the total in euros of the payments that account {account[id]} has made since "
            "{account[since]}?",
        ],
        "plan": [("payments_from", {"account_id": "{account[id]}", "paid_since": "{account[since]}"})],
        "answer": "total_eur",
    },
    {
        "given": {"branch": "branches"},
        "ask": [
            "Who is the manager of branch {branch[id]}?",
            "Which manager runs the bank's branch {branch[id]}?",
            "Give the name of the manager of branch {branch[id]}.",
        ],
        "plan": [("branch_contact", {"branch_id": "{branch[id]}"})],
        "answer": "manager",
    },
    {
        "given": {"account": "accounts"},
        "ask": [
            "How much is on the {account[account_kind]} account of {account[holder]}, in euros?",
            "What balance in euros does {account[holder]} have on the {account[account_kind]} account?",
            "Give the balance of the {account[account_kind]} account that {account[holder]} has, in euros.",
        ],
        "plan": [FIND, ("account_summary", FIRST)],
        "answer": "balance_eur",
    },
    {
        "given": {"account": "accounts"},
        "ask": [
            "When did {account[holder]} open the {account[account_kind]} account?",
            "On what date was the {account[account_kind]} account of {account[holder]} opened?",
            "Since which day has {account[holder]} had a {account[account_kind]} account?",
        ],
        "plan": [FIND, ("account_summary", FIRST)],
        "answer": "opened_on",
    },
    {
        "given": {"account": "accounts"},
        "ask": [
            "How many euros was the latest payment from the {account[account_kind]} account of "
            "{account[holder]}?",
            "{account[holder]} last paid someone from the {account[account_kind]} account. How much, in "
            "euros?",
            "What was the amount in euros of the most recent payment from {account[holder]}'s "
            "{account[account_kind]} account?",
        ],
        "plan": [FIND, ("payments_from", FIRST)],
        "answer": (1, "payments", 0, "amount_eur"),
    },
    {
        "given": {"a": "accounts", "b": "accounts"},
        "ask": [
            "How many euros do accounts {a[id]} and {b[id]} hold together?",
            "Add up the balances of the accounts {a[id]} and {b[id]}, in euros.",
            "What is the sum of the balances of account {a[id]} and account {b[id]}, in euros?",
        ],
        "plan": [
            ("account_summary", {"account_id": "{a[id]}"}),
            ("account_summary", {"account_id": "{b[id]}"}),
        ],
        "answer": {"combine": "sum", "of": [(0, "balance_eur"), (1, "balance_eur")]},
    },
    {
        "given": {"account": "accounts", "currency": CURRENCIES},
        "ask": [
            "What is the whole balance of account {account[id]} worth in {currency}?",
            "If I changed all the money of account {account[id]} into {currency}, how much would it be?",
            "Give the balance of account {account[id]} in {currency}.",
        ],
        "plan": [
            ("account_summary", {"account_id": "{account[id]}"}),
            ("exchange_euros", {"amount_eur": (0, "balance_eur"), "currency": "{currency}"}),
        ],
        "answer": "amount",
    },
    {
        "given": {"a": "accounts", "b": "accounts", "c": "accounts"},
        "ask": [
            "Which of the accounts {a[id]}, {b[id]} and {c[id]} has the highest balance?",
            "Which account holds the most money: {a[id]}, {b[id]} or {c[id]}?",
            "Compare the balances of accounts {a[id]}, {b[id]} and {c[id]} and name the richest account.",
        ],
        "plan": [
            ("account_summary", {"account_id": "{a[id]}"}),
            ("account_summary", {"account_id": "{b[id]}"}),
            ("account_summary", {"account_id": "{c[id]}"}),
        ],
        "answer": {
            "combine": "argmax",
            "of": [(0, "balance_eur"), (1, "balance_eur"), (2, "balance_eur")],
            "names": ["{a[id]}", "{b[id]}", "{c[id]}"],
        },
    },
    {
        "given": {"account": "accounts"},
        "ask": [
            "What is the phone number of the branch that keeps the {account[account_kind]} account of "
            "{account[holder]}?",
            "{account[holder]} wants to call the branch of the {account[account_kind]} account. Which "
            "number is it?",
            "Find the branch of {account[holder]}'s {account[account_kind]} account and give its phone "
            "number.",
        ],
        "plan": [FIND, ("account_summary", FIRST), ("branch_contact", {"branch_id": (1, "branch_id")})],
        "answer": "phone",
    },
    {
        "given": {"account": "accounts", "months": MONTHS},
        "ask": [
            "How much interest, in euros, would the balance of {account[holder]}'s {account[account_kind]} "
            "account bring as savings in {months} months?",
            "{account[holder]} puts all the money of the {account[account_kind]} account into savings for "
            "{months} months. What is the interest in euros?",
            "Take the balance of the {account[account_kind]} account of {account[holder]} and work out the "
            "savings interest on it for {months} months, in euros.",
        ],
        "plan": [
            FIND,
            ("account_summary", FIRST),
            ("savings_interest", {"amount_eur": (1, "balance_eur"), "months": "{months}"}),
        ],
        "answer": "interest_eur",
    },
    {
        "given": {"a": "accounts", "b": "accounts", "euros": EUR},
        "ask": [
            "Send {euros} euros from the {a[account_kind]} account of {a[holder]} to the "
            "{b[account_kind]} account of {b[holder]}. What is the receipt number?",
            "{a[holder]} ({a[account_kind]} account) owes {b[holder]} ({b[account_kind]} account) "
            "{euros} euros. Transfer them and give me the receipt.",
            "Transfer {euros} euros from {a[holder]}'s {a[account_kind]} account to {b[holder]}'s "
            "{b[account_kind]} account and tell me the receipt.",
        ],
        "plan": [FIND_A, FIND_B, SEND],
        "answer": "receipt",
    },
    {
        "given": {"a": "accounts", "b": "accounts"},
        "ask": [
            "By how many euros do the balances of {a[holder]}'s {a[account_kind]} account and {b[holder]}'s "
            "{b[account_kind]} account differ?",
            "What is the difference in euros between the {a[account_kind]} account of {a[holder]} and the "
            "{b[account_kind]} account of {b[holder]}?",
            "Compare the {a[account_kind]} account of {a[holder]} with the {b[account_kind]} account of "
            "{b[holder]}: how many euros lie between the balances?",
        ],
        "plan": [
            FIND_A,
            FIND_B,
            ("account_summary", {"account_id": (0, "account_id")}),
            ("account_summary", {"account_id": (1, "account_id")}),
        ],
        "answer": {"combine": "difference", "of": [(2, "balance_eur"), (3, "balance_eur")]},
    },
    {
        "given": {"a": "accounts", "b": "accounts"},
        "ask": [
            "Transfer as much as the latest payment from {a[holder]}'s {a[account_kind]} account was, from "
            "there to {b[holder]}'s {b[account_kind]} account. What is the receipt?",
            "Find the last payment from the {a[account_kind]} account of {a[holder]}, send as much to the "
            "{b[account_kind]} account of {b[holder]}, and give me the receipt.",
            "Look up the most recent payment from {a[holder]}'s {a[account_kind]} account and send the same "
            "amount to {b[holder]}'s {b[account_kind]} account. Which receipt do I get?",
        ],
        "plan": [
            FIND_A,
            ("payments_from", FIRST),
            FIND_B,
            (
                "send_transfer",
                {
                    "from_account": (0, "account_id"),
                    "to_account": (2, "account_id"),
                    "amount_eur": (1, "payments", 0, "amount_eur"),
                },
            ),
        ],
        "answer": "receipt",
    },
]
