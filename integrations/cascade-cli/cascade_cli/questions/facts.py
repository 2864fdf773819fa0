"""The facts behind the questions, written for this project."""
# ruff: noqa: E501

CAPITALS = {
    "France": "Paris", "Germany": "Berlin", "Italy": "Rome", "Spain": "Madrid", "Portugal": "Lisbon",
    "Austria": "Vienna", "Poland": "Warsaw", "Hungary": "Budapest", "Greece": "Athens", "Norway": "Oslo",
    "Sweden": "Stockholm", "Finland": "Helsinki", "Denmark": "Copenhagen", "Ireland": "Dublin", "Iceland": "Reykjavik",
    "Belgium": "Brussels", "Romania": "Bucharest", "Bulgaria": "Sofia", "Serbia": "Belgrade", "Croatia": "Zagreb",
    "Ukraine": "Kyiv", "Turkey": "Ankara", "Egypt": "Cairo", "Kenya": "Nairobi", "Nigeria": "Abuja",
    "Ghana": "Accra", "Ethiopia": "Addis Ababa", "Morocco": "Rabat", "Senegal": "Dakar", "Japan": "Tokyo",
    "China": "Beijing", "South Korea": "Seoul", "Vietnam": "Hanoi", "Thailand": "Bangkok", "Indonesia": "Jakarta",
    "Philippines": "Manila", "Australia": "Canberra", "New Zealand": "Wellington", "Canada": "Ottawa",
    "Mexico": "Mexico City", "Cuba": "Havana", "Peru": "Lima", "Chile": "Santiago", "Brazil": "Brasilia",
    "Argentina": "Buenos Aires", "Colombia": "Bogota", "Kazakhstan": "Astana", "Mongolia": "Ulaanbaatar",
}  # fmt: skip

CAPITAL_DECOYS = {
    "Australia": ("Sydney", "Melbourne"), "Canada": ("Toronto",), "Turkey": ("Istanbul",), "Brazil": ("Rio de Janeiro",),
    "Nigeria": ("Lagos",), "Morocco": ("Casablanca",), "New Zealand": ("Auckland",), "Kazakhstan": ("Almaty",),
    "Vietnam": ("Ho Chi Minh City",), "China": ("Shanghai",),
}  # fmt: skip

ANTONYMS = {
    "hot": ("cold", "cool", "chilly"), "big": ("small", "little", "tiny"), "fast": ("slow",), "happy": ("sad", "unhappy"),
    "light": ("dark", "heavy"), "early": ("late",), "full": ("empty",), "rich": ("poor",), "strong": ("weak",),
    "hard": ("soft", "easy"), "open": ("closed", "close", "shut"), "wet": ("dry",), "young": ("old",),
    "clean": ("dirty",), "loud": ("quiet", "silent", "soft"), "thick": ("thin",), "wide": ("narrow",),
    "brave": ("cowardly", "afraid", "fearful", "timid"), "ancient": ("modern", "new"), "arrive": ("depart", "leave"),
    "accept": ("reject", "refuse", "decline"), "victory": ("defeat", "loss"), "generous": ("stingy", "selfish", "mean"),
    "polite": ("rude", "impolite"), "permanent": ("temporary",), "increase": ("decrease", "reduce"),
    "expand": ("contract", "shrink"), "guilty": ("innocent",), "shallow": ("deep",), "smooth": ("rough",),
    "sharp": ("dull", "blunt"), "asleep": ("awake",), "public": ("private",), "maximum": ("minimum",),
    "artificial": ("natural", "real"), "above": ("below", "beneath"), "buy": ("sell",), "lend": ("borrow",),
    "remember": ("forget",), "success": ("failure",), "cheap": ("expensive",), "ascend": ("descend",),
    "scarce": ("abundant", "plentiful"), "rigid": ("flexible",), "optimist": ("pessimist",), "attack": ("defend",),
    "inhale": ("exhale",), "transparent": ("opaque",),
}  # fmt: skip

STATEMENTS = {
    "Is the Sun a star?": True, "Do penguins live at the North Pole?": False, "Is ice lighter than liquid water?": True,
    "Is a spider an insect?": False, "Does the Moon go around the Earth?": True, "Is gold a metal?": True,
    "Can a human breathe under water without equipment?": False, "Is Mount Everest higher than Mont Blanc?": True,
    "Is the Pacific larger than the Atlantic?": True, "Are bats birds?": False, "Is a whale a mammal?": True,
    "Does sound travel faster than light?": False, "Is the number 17 a prime number?": True,
    "Is the number 21 a prime number?": False, "Does a triangle have four sides?": False,
    "Is Africa a continent?": True, "Is a tomato a mineral?": False, "Do plants need light to grow?": True,
    "Is the Amazon a river?": True, "Is the Sahara a forest?": False, "Does a week have eight days?": False,
    "Is February the shortest month?": True, "Is water made of hydrogen and oxygen?": True, "Is Venus a moon?": False,
    "Can kangaroos jump?": True, "Do fish have lungs instead of gills?": False, "Is London in Spain?": False,
    "Is Tokyo in Japan?": True, "Is the heart a muscle?": True, "Does a leap year have 366 days?": True,
    "Is glass a good conductor of electricity?": False, "Is copper a good conductor of electricity?": True,
    "Did dinosaurs and humans live at the same time?": False, "Is a violin a wind instrument?": False,
    "Is a trumpet a brass instrument?": True, "Is the Nile in South America?": False, "Is coal a fossil fuel?": True,
    "Is 0.5 larger than 0.25?": True, "Is 3/4 smaller than 1/2?": False, "Does a square have equal sides?": True,
    "Is an octopus a vertebrate?": False, "Is Antarctica colder than Brazil?": True, "Is honey made by ants?": False,
    "Is a mushroom a fungus?": True, "Do snakes have legs?": False, "Is Jupiter the largest planet?": True,
    "Is the Great Wall in China?": True, "Is chess played with dice?": False,
}  # fmt: skip

PAST_TENSES = {
    "go": "went", "eat": "ate", "run": "ran", "see": "saw", "take": "took", "give": "gave", "write": "wrote",
    "speak": "spoke", "drink": "drank", "sing": "sang", "swim": "swam", "begin": "began", "break": "broke",
    "choose": "chose", "drive": "drove", "fall": "fell", "fly": "flew", "forget": "forgot", "freeze": "froze",
    "grow": "grew", "hide": "hid", "know": "knew", "ride": "rode", "ring": "rang", "rise": "rose", "shake": "shook",
    "steal": "stole", "tear": "tore", "throw": "threw", "wake": "woke", "wear": "wore", "win": "won", "buy": "bought",
    "bring": "brought", "catch": "caught", "teach": "taught", "think": "thought", "fight": "fought", "find": "found",
    "hold": "held", "keep": "kept", "leave": "left", "lose": "lost", "meet": "met", "pay": "paid", "sell": "sold",
    "send": "sent", "sleep": "slept",
}  # fmt: skip

PLURALS = {
    "child": "children", "city": "cities", "mouse": "mice", "leaf": "leaves", "box": "boxes", "foot": "feet",
    "baby": "babies", "knife": "knives", "tooth": "teeth", "woman": "women", "man": "men", "goose": "geese",
    "person": "people", "ox": "oxen", "wolf": "wolves", "half": "halves", "life": "lives", "wife": "wives",
    "thief": "thieves", "potato": "potatoes", "hero": "heroes", "bus": "buses", "glass": "glasses", "dish": "dishes",
    "church": "churches", "story": "stories", "berry": "berries", "country": "countries", "lady": "ladies",
    "party": "parties", "day": "days", "key": "keys", "photo": "photos", "piano": "pianos", "roof": "roofs",
    "cactus": "cacti", "analysis": "analyses", "crisis": "crises", "phenomenon": "phenomena", "criterion": "criteria",
    "datum": "data", "medium": "media", "sheep": "sheep", "fish": "fish", "deer": "deer", "series": "series",
}  # fmt: skip

WORDS = (
    "banana", "letter", "window", "coffee", "garden", "summer", "planet", "kitchen", "bottle", "pepper", "tomato",
    "elephant", "mirror", "butter", "carrot", "balloon", "rabbit", "tennis", "lesson", "pillow", "harbor", "cinema",
    "engine", "forest", "guitar", "island", "jacket", "ladder", "market", "needle", "orange", "pocket", "rocket",
    "silver", "ticket", "velvet", "wallet", "yellow", "zipper", "cottage", "message", "picture", "science", "village",
    "whistle", "blanket", "cabbage", "dolphin",
)  # fmt: skip

NAMES = (
    "Anna", "Ben", "Carla", "David", "Emma", "Felix", "Grace", "Hugo", "Irene", "Jonas", "Karin", "Liam", "Mona",
    "Noah", "Olga", "Peter", "Rosa", "Simon", "Tina", "Victor",
)  # fmt: skip

CITIES = ("Lyon", "Porto", "Leeds", "Graz", "Turin", "Malaga", "Ghent", "Aarhus", "Basel", "Kyoto", "Denver", "Quito")

WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday")

JOBS = ("nurse", "teacher", "plumber", "carpenter", "baker", "pilot", "farmer", "lawyer", "painter", "chemist")

REVIEWS = {
    "positive": (
        "The food was delicious and the waiter was very kind.", "I loved every minute of this film.",
        "What a wonderful hotel, we will come back.", "The battery lasts for days, I am impressed.",
        "Our guide was funny and knew everything.", "The room was spotless and the bed was heavenly.",
        "This is the best bread I have ever tasted.", "Fast delivery and the colour is even nicer than in the picture.",
        "My daughter has not put this book down since she opened it.", "Not bad at all, I would buy it again.",
        "I expected little and was pleasantly surprised.", "The show could not have been better.",
        "Finally a phone that just works.", "The staff went out of their way to help us.",
        "A quiet, sunny flat with a view that takes your breath away.", "Nothing to complain about, everything was perfect.",
        "The soup warmed us and the price was fair.", "I was never bored for a second.",
        "Great value for the money.", "The concert gave me goose bumps.", "She explains maths so that anyone gets it.",
        "I can't think of a nicer place for a weekend.", "The app saved me hours of work.", "Simply brilliant.",
    ),
    "negative": (
        "The food was cold and the waiter was rude.", "I fell asleep halfway through this film.",
        "What a terrible hotel, never again.", "The battery dies after an hour, I am disappointed.",
        "Our guide was late and knew nothing.", "The room was filthy and the bed was broken.",
        "This is the worst bread I have ever tasted.", "It arrived weeks late and the colour is wrong.",
        "My daughter put this book down after two pages.", "Not good at all, I want my money back.",
        "I expected a lot and got very little.", "The show could hardly have been worse.",
        "Yet another phone that crashes all the time.", "The staff ignored us for an hour.",
        "A noisy, dark flat with a view of a wall.", "There was plenty to complain about, nothing worked.",
        "The soup tasted of dishwater and cost a fortune.", "I looked at my watch every five minutes.",
        "A complete waste of money.", "The concert gave me a headache.", "She explains maths so that nobody gets it.",
        "I can't think of a sadder place for a weekend.", "The app cost me hours of work.", "Simply awful.",
    ),
}  # fmt: skip
