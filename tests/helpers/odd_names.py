"""200 class names as data sets have them, and odder ones."""

# ruff: noqa: E501

NAMES = [
    "rose", "ox-eye daisy", "707-320", "A340-600", "DHC-8-300", "criss-crossed", "hard leaved pocket orchid",
    "2012 BMW M3 coupe", "Bentley Continental Supersports Conv. Convertible", "grape leaf blight (isariopsis leaf spot)",
    "Tomato: two-spotted spider mite", "crème brûlée", "jalapeño", "smørrebrød", "naïve café", "Zürich", "Ærø", "Œuvre",
    "Straße", "façade", "Łódź", "Ðuro", "Þórr", "İstanbul", "ΣΊΣΥΦΟΣ", "ὈΔΥΣΣΕΎΣ", "Москва", "щука", "Їжак", "寿司", "东京",
    "拉面 and tea", "서울", "ラーメン", "ภาษาไทย", "हिन्दी", "العربية", "עברית", "ქართული", "Հայերեն", "cafe\u0301", "e\u0301",
    "ﬁne ﬂower", "①②③", "½ cup", "10²", "x₂", "50 %", "3.5 mm", "1,000,000", "1st", "22nd", "00", "007", "9/11",
    "A/C", "B-52", "F-16A/B", "C++", "C#", "R&B", "AT&T", "Q&A", "rock'n'roll", "dog's", "dogs'", "it's", "we're", "I'm",
    "they've", "he'll", "she'd", "o'clock", "d'Artagnan", "'quoted'", '"double"', "“curly”", "‘single’", "«guillemets»",
    "em—dash", "en–dash", "ellipsis…", "three...", "!?", "???", "hash#tag", "@mention", "e-mail@host.org", "a_b_c",
    "snake_case_name", "CamelCaseName", "ALLCAPS", "mIxEd", "tab\tseparated", "two  spaces", " leading", "trailing ",
    "new\nline", "no-break\u00a0space", "thin\u2009space", "zero\u200bwidth", "soft\u00adhyphen", "\u202bright to left",
    "emoji 🙂", "🍕", "👩‍🔬", "flag 🇩🇪", "☕ coffee", "★★★", "→ arrow", "∑ sum", "π", "α-helix", "µm", "Å", "°C", "№ 5", "©",
    "™", "€ 5", "£5", "¥", "$5", "100$", "a+b=c", "a*b", "a^b", "~tilde", "`tick`", "back\\slash", "pipe|pipe", "{curly}",
    "[square]", "(round)", "<angle>", "a<b", "a>b", "<tag>", "semi;colon", "co:lon", "comma, comma", "dot.dot", ".hidden",
    "St. Bernard", "Mt. Everest", "Dr. No", "U.S.A.", "e.g.", "i.e.", "etc.", "vs.", "x.y.z", "v1.2.3", "file.tar.gz",
    "www.example.org", "http://a.b/c?d=e", "50mm f/1.8", "18-55mm", "12V", "5G", "H2O", "CO2", "pH 7", "T-shirt", "X-ray",
    "re-elect", "mother-in-law", "state of the art", "the", "a", "I", "z", "supercalifragilisticexpialidocious",
    "pneumonoultramicroscopicsilicovolcanoconiosis", "Llanfairpwllgwyngyll", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "qwrtzpsdfghjkl", "a b c d e f g h i j k l m n o p q r s t", "one two three four five six seven eight nine ten",
    "12345678901234567890", "annual crop land", "permanent crop land", "sea or lake", "brushed metal", "sparsely pubescent",
    "Amanita muscaria var. guessowii", "Homo sapiens", "E. coli", "SARS-CoV-2", "COVID-19", "type 2 diabetes", "HER2+",
    "IL-6", "α/β hydrolase", "Vitamin B₁₂", "5′-UTR", "3'-end", "CD4+ T-cell", "left (L) lung", "non-small-cell carcinoma",
]  # fmt: skip
