"""Lists of words that name no product, and tables of word forms, by the code of their language."""

from __future__ import annotations

from imagesim.indexes.adjectives import ADJECTIVES

STOP_WORDS = {
    "en": "a an and are as at be by for from i in is it my of on or that the this to with your we me some",
    "de": "der die das den dem des ein eine einer eines einem einen und oder für mit von vom zum zur im in am an auf "
    "aus bei ist zu als auch nach ich mein meine",
    "fr": "le la les l un une des du de d et ou pour avec sans en dans sur au aux ce cette est à",
    "es": "el la los las un una unos unas y o de del para con sin en por al es que",
    "it": "a il lo la i gli le l un uno una e o di d del dello della dei degli delle dell per con senza in nel nella "
    "nello nei negli nelle nell su sul sulla sulle sull da dall al alla alle agli all è",
    "nl": "de het een deze die dit dat en of voor met van in op te bij aan uit is",
    "pl": "i lub albo w we na z ze do dla od po o u pod nad jest są",
    "pt": "o a os as um uma uns umas e ou de do da dos das para com sem em no na nas por pelo pela ao à às",
    "cs": "a bez do i je jsou k ke na nebo o od po pro s se ta ten to u v ve z za ze",
    "da": "af at de den det eller en er et for fra i med min mine mit og om på som til uden ved",
    "ar": "أو إلى على عن في مع من هذا هذه و",
    "el": "για ένα ένας η ή και με μια ο οι σε στα στη στην στο στον τα τη την της το τον του των από",
    "fi": "että ja kanssa ne on se tai tämä",
    "he": "או אל את ו זה זו על עם של",
    "hu": "a az egy és vagy",
    "nb": "av de den det ei eller en er et for fra i med min mine mitt og om på som til uten ved å",
    "ru": "без в во для до за и из или к ко на о об от по с со у это",
    "sv": "att av de den det eller en ett från för i med min mina mitt och om på som till utan vid är",
    "tr": "bir bu da de ile için mi mu mü mı o ve veya şu",
}
"""Words without a meaning of their own, which are left out wherever other words remain."""

PARTICLES = frozenset("的了吗呢子가과는도로를색에와은을의이")
"""Characters of Chinese and Korean behind a word that say nothing of what it means."""

ELIDED = frozenset({
    "all", "c", "coll", "d", "dall", "dell", "j", "jusqu", "l", "lorsqu", "m", "n", "nell", "puisqu", "qu", "quell",
    "quelqu", "quest", "s", "sant", "sull", "t", "un",
})  # fmt: skip
"""Words that lose their last vowel before another vowel, as in French, Italian and Catalan ("d'été", "dell'olio")."""

FEATURES = {
    "ar": "بدون مع", "cs": "bez pro s se", "da": "for med til uden", "de": "für mit ohne",
    "el": "για με χωρίς", "en": "for with without",
    "es": "con para sin", "fr": "avec pour sans", "he": "בלי ללא עם", "it": "con per senza", "nb": "for med til uten",
    "nl": "met voor zonder", "pl": "bez dla z ze", "pt": "com para sem", "ru": "без для с со",
    "sv": "för med till utan",
}  # fmt: skip
"""Words after which a name says what a thing has, or what it is for: a "baby monitor with camera" is no camera."""

QUALITIES = {"en": "compatible free friendly proof resistant safe"}
"""Words before which a word says what a thing stands, or is without: what is "dishwasher safe" is no dishwasher."""

PREPOSITIONS = {
    "ar": "في من", "cs": "do na z ze", "da": "af i", "de": "aus fürs im in zum zur", "el": "από σε", "en": "from in",
    "es": "en", "fr": "en",
    "it": "in", "nb": "av i", "nl": "in uit van", "pl": "do na w we", "pt": "em", "ru": "в из на", "sv": "av i",
}  # fmt: skip
"""Further words after which a query says what a thing is for, or what it is like ("shirt in red", "Stuhl aus Holz")."""

QUALIFIERS = {
    "cs": "domácí dospělé dámská dámské dámský elegantní kancelář kancelářská kancelářské kancelářský kuchyně "
    "kuchyňská kuchyňské kuchyňský letní malou malá malé malý moderní muže muži módní pohodlná pohodlné pohodlný pokoj "
    "praktická praktický pánská pánské pánský stylová stylové stylový velkou velká velké velký venkovní zahrada "
    "zahradní zimní ženy",
    "da": "aften arbejds behagelig behagelige bløde bryllup dame damer elegant elegante fest have herre herrer hjem "
    "hjemme indendørs jul klassisk klassiske kontor kvinder køkken lille lækre moderne mænd rejse robust sjov sjove "
    "skole smart smarte små sommer soveværelse sport stilfuld stor store strand stue udendørs unisex vinter voksne",
    "de": "abend alltags arbeits ausgefallene badezimmer balkon bedruckte bequeme bestickte bunte büro camping coole "
    "dame damen doppel draussen draußen eckige edle edlen edler edles einzel elegante ergonomische esszimmer extra "
    "faltbare festliche flur frau frauen freizeit frühjahrs frühlings garten geblümte geburtstags gemusterte "
    "gemütliche gepunktete gestreifte gestrickte glänzende große gute haus herbst herr herren hochwertige hochzeits "
    "indoor innen kabellose karierte kingsize klappbare klassische kleine kompakte küche küchen lange leichte lustige "
    "lässige mann matte moderne modische männer niedliche outdoor ovale party praktische premium queensize reise "
    "retro robuste runde schicke schlafzimmer schlichte schmale schul schöne sommer sport sportliche stabile "
    "stilvolle strand süße terrasse terrassen tragbare trekking trendige unisex vintage wander warme weiche "
    "weihnachts winter wohnzimmer zeitlose zimmer zuhause",
    "en": "acrylic adjustable adult adults african aluminium aluminum american ankle argentinian asian athletic "
    "australian austrian autumn baggy balcony bamboo bathroom beach bedroom beech beginner beginners belgian big "
    "birch birthday bodycon boho brass brazilian british bronze camping canadian canvas cashmere casual ceramic "
    "checked checkered chic chilean chinese christmas chrome classic classy colorful colourful comfort comfortable "
    "comfy compact contemporary copper cordless corduroy cotton cozy crew cropped crossbody cuban curved cute danish "
    "decorative denim design designer dining dotted double durable dutch elderly elegant embroidered enamel english "
    "ergonomic european evening everyday fancy fashion fashionable faux female females festive finnish fitted "
    "flannel fleece floral foldable folding french full funky funny gaming garden gardening gentleman gentlemen "
    "gents genuine german giant glossy greek guy guys gym half hallway handmade high hiking holiday home hooded "
    "house huge indian indoor indoors irish italian japanese jute king kitchen knee knitted korean ladies lady ladys "
    "large leather length lightweight little living long loose low luxurious luxury male males man mans marble "
    "massive matte maxi medium men mens merino metal mexican midi mini minimalist minimalistic modern moroccan "
    "multicolored multicoloured narrow neck necked neckline norwegian nursery nylon oak office outdoor outdoors oval "
    "oversized padded party patio patterned pine plaid plain plastic polyester porcelain portable portuguese premium "
    "printed professional professionals queen quilted quirky rain rattan rectangular retro room round rubber russian "
    "rustic satin scandinavian school scottish seater shiny short silk simple single sized skinny sleek sleeve "
    "sleeved sleeveless sleeves slim small soft solid spanish sparkly sport sports sporty spotted spring square "
    "stackable stainless steel stoneware striped sturdy stylish suede summer swedish swiss tall teak terrace thai "
    "thick thin tier tiny traditional training travel trekking trending trendy turkish twin unique unisex unusual v "
    "velvet veneer vintage waist waisted walnut warm waterproof wedding wicker wide winter wireless woman women "
    "womens wooden wool woolen woollen work workout yoga zip zipped zippered",
    "es": "acero acolchado adulto ajustable algodón aluminio antiguo apilable bambú baño baños boda bonita bordado "
    "cachemira camping cerámica clásico cocina colegio comedor corta cuero cálido cómoda cómodo delgado deporte "
    "deportiva deportivo diseño divertido dormitorio elegante ergonómico estampado estrecha exterior fiesta "
    "floral gran grande hogar hombre impermeable inalámbrico inoxidable invierno jardín juvenil lana larga "
    "ligero lino liso lujo madera metal mini minimalista moderna moderno mujer mármol navidad noche oficina "
    "original ovalado pequeña pequeño playa plegable plástico portátil profesional práctico ratán rayas "
    "rectangular redondo resistente retro robusto rústico salón satén seda sencillo senderismo suave terciopelo "
    "terraza trabajo tradicional unisex verano viaje vintage",
    "fi": "aikuisten hauska iso isot keittiön kesä kodin mies miesten moderneja moderni mukava nainen naisten "
    "olohuoneen pienet pieni puutarha suuri talvi toimiston ulko",
    "fr": "acier adulte ajustable aluminium ancien bain bambou bois bouleau brodé brodée bureau cachemire camping "
    "capuche carré carrée chambre chaud chic chêne classique confortable confortables coton courte cuir cuisine "
    "céramique daim design empilable ergonomique extérieur femme fleuri fleurie fête grand grande hiver homme "
    "imperméable imprimé imprimée inox intérieur jardin laine large lin long longue luxe léger légère maison "
    "marbre mariage matelassé mini minimaliste moderne moelleux métal métallique noël nylon original originale "
    "osier ovale petit petite plage plastique pliable pliant pliante pliantes pliants polyester porcelaine "
    "pratique professionnel randonnée rayé rayée rectangulaire robuste rond ronde rotin rustique réglable rétro "
    "salle salon satin simple soie soirée solide souple sport sportif sportive tendance terrasse traditionnel "
    "travail tricoté unisexe velours vintage voyage école élégant élégante étanche étroit été",
    "it": "acciaio adulto alluminio ampio antico bagno bambù camera campeggio casa cashmere casual ceramica classico "
    "comoda comodo corta cotone cucina cuoio design divertente donna elegante ergonomico escursionismo estate "
    "esterno estiva estivo festa floreale giardino grande imbottito impermeabile impilabile inossidabile inox "
    "invernale inverno lana larga lavoro leggero legno lino liscio lunga lusso marmo matrimonio metallo mini "
    "minimalista moderna moderno morbido natale originale ottone ovale piccola piccolo pieghevole plastica "
    "portatile pratico professionale rattan regolabile resistente retrò rettangolare ricamato righe robusto "
    "rotondo rustico salotto satin scuola semplice sera seta soggiorno spiaggia sport sportiva sportivo stretto "
    "terrazza tradizionale ufficio unisex uomo velluto viaggio vintage",
    "nb": "arbeids bryllup dame damer elegant elegante fest hage herre herrer hjem hjemme innendørs jul kjøkken "
    "klassisk klassiske kontor kveld kvinner lite liten menn moderne myke reise skole små sommer soverom sport stilig "
    "stilige stor store strand stue unisex utendørs vinter voksne",
    "nl": "antieke avond balkon bamboe bedrukte brede bruiloft buiten comfortabele dames decoratieve design dikke "
    "draadloze draagbare dunne eetkamer elegante ergonomische feest fluwelen gebloemde geborduurde gebreide "
    "geruite gestreepte grappige grote handige heren hippe hoge houten huis kantoor katoenen keramische kerst "
    "keuken klassieke kleine korte lange lederen leren leuke lichte linnen luxe man mannen marmeren matte "
    "metalen mini minimalistische moderne nylon opvouwbare originele ovale plastic praktische professionele "
    "rechthoekige reis retro robuuste ronde rotan rustieke rvs satijnen schattige school slaapkamer smalle "
    "sport sportieve stalen stapelbare stevige stijlvolle strand terras traditionele trendy tuin unisex "
    "verstelbare vierkante vilten vintage volwassenen vrouw vrouwen warme waterdichte werk wijde winter wollen "
    "woonkamer zachte zijden zomer zware",
    "pl": "aluminiowy bambusowy bawełniany bezprzewodowy biuro biurowe biurowy ceramiczny ciepły codzienny damska "
    "damski damskie dekoracyjny designerski domowe domowy dorosłych drewniany duża duże duży dużą długi "
    "elegancka elegancki eleganckie ergonomiczny jedwabny klasyczny kobiet kobieta kobiety krótki kuchenne "
    "kuchenny kuchni kuchnia kwadratowy lekki letni letnia letnie lniany luksusowy marmurowy mała małe mały "
    "małą metalowy mini minimalistyczny miękki modna modne modny męska męski męskie mężczyzn mężczyzna "
    "nowoczesna nowoczesne nowoczesny ogrodowe ogrodowy ogrodu ogród okrągły owalny plastikowy plażowa plażowy "
    "podróżna podróżny praktyczne praktyczny profesjonalny prostokątny prosty przenośny regulowany rustykalny "
    "salon salonu skórzany składany solidny sportowa sportowe sportowy stalowy stylowe stylowy sypialni "
    "sypialnia szeroki szkolny tradycyjny trekkingowy turystyczny wełniany wieczorowa wieczorowy wodoodporny "
    "wygodna wygodne wygodny wysoki wąski zimowa zimowe zimowy ślubna ślubny",
    "pt": "acolchoado adulto ajustável algodão alumínio antigo aço bambu banheiro bordado camping casa casamento "
    "casual cerâmica clássico confortáveis confortável couro cozinha curta design divertido elegante empilhável "
    "ergonômico escola escritório esporte esportiva esportivo estampado estreito exterior festa floral grande "
    "homem impermeável inox inverno jardim larga leve liso listrado longa luxo macio madeira metal mini "
    "minimalista moderna moderno mulher mármore natal noite original oval pequena pequeno plástico portátil "
    "praia profissional prático quarto rattan redondo resistente retangular retrô robusto rústico sala seda "
    "simples trabalho tradicional unissex varanda veludo verão viagem vintage",
    "ru": "большая большие большой взрослых дача дачи дом дома домашние домашний женская женские женский женщин зимние "
    "зимний классический красивые красивый кухни кухня летние летний маленькие маленький модные модный мужская мужские "
    "мужской мужчин офис офиса офисный садовая садовый современный стильные стильный удобные удобный уличный унисекс "
    "элегантный",
    "sv": "arbets bekväm bekväma bröllop bröllops dam damer elegant eleganta fest hem herr herrar inomhus jul "
    "klassisk klassiska kontor kontors kvinnor kväll kök köks lilla liten lång långa mjuka modern moderna mysig "
    "mysiga män praktisk rese roliga skol små snygg snygga sommar sovrum sport stilren stilrena stor stora strand "
    "trädgård trädgårds unisex uteplats utomhus vardagsrum vardagsrums vinter vuxna",
    "tr": "bahçe bay bayan büyük elegant erkek ev kadın küçük kış kışlık modern mutfak ofis rahat salon unisex yaz "
    "yazlık yetişkin şık",
}  # fmt: skip
"""Words that say for whom, where or when a thing is used, or what it is like, and never what it is: an office chair is
a chair, and gym shoes are shoes. Words with which a thing becomes another are not listed: ice cream, a bar stool."""

AMOUNTS = frozenset({
    "eu", "uk", "us", "age", "aged", "ages", "alter", "ab", "âge", "edad", "età", "idade", "leeftijd", "wiek",
    "size", "under", "below", "than", "größe", "unter", "bis", "taille", "moins", "jusqu", "talla", "menos", "hasta",
    "taglia", "meno", "fino", "maat", "onder", "tot", "rozmiar", "poniżej", "do", "tamanho", "até",
    "storlek", "størrelse", "koko", "velikost", "размер", "до", "beden", "numara",
})  # fmt: skip
"""Words after which a number is a size, an age or a price ("size 42", "under 50"), known to filters rather than to
texts."""

NEGATIONS = {
    "de": "kein keine keinem keinen keiner keines nicht ohne", "en": "no non not without", "es": "no sin",
    "fr": "pas sans", "it": "non senza", "nl": "geen niet zonder", "pl": "bez nie", "pt": "não sem",
    "cs": "bez ne", "da": "ikke uden", "fi": "ei", "nb": "ikke uten", "ru": "без не", "sv": "inte utan",
}  # fmt: skip
"""Words after which a colour is excluded ("lamp, not white")."""

SHADES = {
    "de": "blass dunkel dunkle hell himmel königs kräftig marine nacht tief zart",
    "en": "bright brighter dark darker deep light lighter navy night pale royal sky",
    "es": "celeste claro claros intenso marino noche oscuro oscuros pálido",
    "fr": "ciel clair claire foncé foncée marine nuit pâle vif vive",
    "it": "acceso chiaro notte pallido scuro",
    "nl": "bleek donker fel hemels konings licht marine nacht",
    "pl": "blado ciemno ciemny jasno jasny",
    "pt": "celeste claro claros escuro escuros marinho noite pálido",
    "cs": "světle tmavě",
    "da": "lyse marine mørke",
    "fi": "tumman vaalean",
    "nb": "lyse marine mørke",
    "ru": "светло темно ярко",
    "sv": "ljus ljusa marin mörk mörka",
    "tr": "açık koyu",
}
"""Words that belong to the name of a colour beside it ("light blue", "bleu clair"), or are its first part
("hellblau")."""

SIZES = frozenset({"xs", "s", "m", "l", "xl", "xxl", "xxxl"})
"""Sizes that are not numbers. Those of one letter count as a size only after one of ``AMOUNTS``."""

UNITS = frozenset({
    "a", "ah", "amp", "anni", "anos", "ans", "años", "bar", "cali", "cl", "cm", "cv", "dl", "feet", "foot", "ft", "g",
    "gb", "ghz", "gram", "gramm", "grams", "h", "hp", "hz", "inch", "inches", "jaar", "jahre", "jahren", "kg", "km",
    "kw", "l", "lat", "lb", "lbs", "liter", "liters", "litre", "litres", "litri", "litro", "litros", "litry", "litrów",
    "lm", "lumen", "m", "mah", "mb", "mhz", "ml", "mm", "months", "nm", "oz", "polegadas", "pollici", "pouce", "pouces",
    "ps", "pulgadas", "tb", "v", "volt", "volts", "w", "watt", "watts", "year", "years", "zoll",
})  # fmt: skip
"""Units of a number before them. A query for "dumbbell 5 kg" asks for a dumbbell, not for a "kg"."""

NUMBERS_OF_THINGS = {
    "de": "paar packung stück", "en": "assortment bundle pack packs pair pairs piece pieces set sets",
    "es": "pack paquete par pares set", "fr": "lot paire paires set", "it": "confezione paio set",
    "nl": "paar stuks", "pt": "conjunto kit pacote par pares",
}  # fmt: skip
"""Words that say how many of a thing there are: who types "knife set" asks for knives, and not for any set."""

CONJUNCTIONS = {
    "ca": "i", "cs": "a", "da": "og", "de": "und", "el": "και", "en": "and", "es": "y", "fi": "ja", "fr": "et",
    "hu": "és", "it": "e", "nb": "og", "nl": "en", "no": "og", "pl": "i", "pt": "e", "ro": "și", "ru": "и",
    "sv": "och", "tr": "ve",
}  # fmt: skip
"""The word for "and" in each language, in lower case."""

HEAD_FIRST = frozenset({"ar", "ca", "es", "fr", "ga", "he", "id", "it", "pl", "pt", "ro"})
"""Languages in which the word that says what a thing is comes first ("silla de oficina"); in others it comes last
("office chair")."""

INFLECTIONS = {"da": "e er", "de": "e en er s", "nb": "e er", "nl": "en s", "no": "e er", "sv": "a ar or er"}
"""Endings that the last part of a compound may have after its stem ("Hängelampe", "Handtaschen"), in languages that
write compounds as one word."""

SUFFIXES = {"de": "arm bar gel tor"}
"""Short words with which other words end than compounds: "waschbar", "Spiegel", "Generator"."""

OTHER_THINGS = {"de": "handschuh", "nl": "handschoen"}
"""Compounds that are no kind of what their last part says: a glove ("Handschuh") is no shoe."""

PLURALS = {
    "da": "el-ler", "en": "-s s-ses f-ves fe-ves", "es": "-s -es z-ces", "fr": "-s -x",
    "it": "co-chi go-ghi ca-che ga-ghe", "nb": "el-ler er-rer",
    "nl": "-s -en f-ven s-zen b-bben d-dden f-ffen g-ggen k-kken "
    "l-llen m-mmen n-nnen p-ppen r-rren s-ssen t-tten",
    "pl": "ek-ki", "pt": "-s ao-oes al-ais el-eis ol-ois",
    "ru": "ек-ки ок-ки ел-лы ол-лы ец-цы ень-ни",
    "sv": "a-an r-rna el-lar el-ler er-rar",
}  # fmt: skip
"""The endings of singular and plural, without accents, where stemmers may give the two different stems ("shelf",
"shelves"; the Dutch "hemd", "hemden"; the Swedish "stövel", "stövlar")."""

DIMINUTIVES = {"nl": "je- jes- tje- tjes- nnetje-n nnetjes-n lletje-l lletjes-l mmetje-m mmetjes-m rretje-r rretjes-r"}
"""The endings of diminutives, with those of the words that they are made of: "lampje" asks for a lamp."""

FORMS_BY_NUMBER = frozenset({"en", "es", "fr", "pt"})
"""Languages whose nouns have a singular and a plural, as of :data:`PLURALS`, and no other forms: other words with the
stem are other words, or say what is done with a thing."""

PARTICIPLES = {"en": "ed"}
"""The ending of words for what was done to a thing ("hammered"), which have the stem of the word for another."""

IRREGULAR_PLURALS = {
    "en": "child-children foot-feet goose-geese mouse-mice tooth-teeth",
    "fr": "body-bodies oeil-yeux bas-basse beau-belle beaux-belles blanc-blanche blancs-blanches doux-douce "
    "epais-epaisse "
    "frais-fraiche gros-grosse long-longue longs-longues neuf-neuve neufs-neuves roux-rousse "
    "sec-seche secs-seches vieux-vieille",
    "ko": "검은-검정 까만-검정 노란-노랑 빨간-빨강 파란-파랑 하얀-흰색",
    "es": "jersey-jerseis jersey-jerséis",
    "nl": "ei-eieren kind-kinderen slot-sloten",
    "pt": "cao-caes pao-paes",
    "sv": "bla-blatt gra-gratt rod-rott",
}
"""Words with an irregular plural, or another irregular form: in Swedish and Korean of a colour, in French of an
adjective. "Men" and "women" are missing because they name departments of shops rather than several persons."""

AUDIENCES = {
    "da": "damer-kvinder damer-kvinde dame-kvinder dame-kvinde herrer-maend herre-maend",
    "de": "damen-frauen damen-frau dame-frauen herren-manner",
    "en": "ladies-women ladies-womens lady-women gents-men gents-mens kids-children kids-child kid-children",
    "es": "dama-mujer damas-mujer damas-mujeres senora-mujer senoras-mujer senoras-mujeres caballero-hombre "
    "caballeros-hombre caballeros-hombres femenino-mujer femenina-mujer masculino-hombre masculina-hombre",
    "fr": "dame-femme dames-femme dames-femmes messieurs-homme messieurs-hommes feminin-femme feminine-femme "
    "masculin-homme masculine-homme",
    "it": "signora-donna signore-donna signore-donne femminile-donna femminili-donna maschile-uomo maschili-uomo",
    "nb": "damer-kvinner damer-kvinne dame-kvinner dame-kvinne herrer-menn herre-menn",
    "nl": "dames-vrouwen dames-vrouw dame-vrouwen heren-mannen heer-mannen",
    "pt": "senhora-mulher senhoras-mulher senhoras-mulheres feminino-mulher feminina-mulher masculino-homem "
    "masculina-homem",
    "sv": "damer-kvinnor damer-kvinna dam-kvinnor dam-kvinna herrar-man herr-man",
}
"""Words for the same people, whom a thing is for: "ladies watch" asks for a "Women's watch"."""

SPELLINGS = {
    "fr": "cle-clef shampoing-shampooing",
    "en": "aluminum-aluminium analog-analogue armor-armour caliber-calibre catalog-catalogue center-centre "
    "chili-chilli color-colour cozy-cosy donut-doughnut draft-draught favor-favour fiber-fibre flavor-flavour "
    "gray-grey harbor-harbour humor-humour iza-isa ize-ise izi-isi jewelry-jewellery license-licence liter-litre "
    "luster-lustre meter-metre mold-mould mustache-moustache neighbor-neighbour odor-odour pajama-pyjama "
    "parlor-parlour plow-plough program-programme racquet-racket saber-sabre savory-savoury sulfur-sulphur "
    "theater-theatre tire-tyre vapor-vapour whiskey-whisky woolen-woollen yogurt-yoghurt eled-elled eler-eller "
    "eling-elling",
}
"""Parts of words that have two correct spellings, such as American and British ones, so that neither is taken for a
typing error of the other."""

for _language, _adjectives in ADJECTIVES.items():
    QUALIFIERS[_language] += f" {_adjectives}"

for _table in (
    STOP_WORDS,
    FEATURES,
    PREPOSITIONS,
    QUALIFIERS,
    NEGATIONS,
    SHADES,
    AUDIENCES,
    PLURALS,
):
    _table["no"] = _table["nb"]  # the code for Norwegian that does not say which of its two forms
