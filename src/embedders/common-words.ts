/**
 * Everyday content words, English and German, folded: they carry some topic, but a question that shares only these with an
 * adapter's examples says little (`time`, `day`, `Name`, `Uhr`).
 */
const ENGLISH = `time year years day days week weeks month months hour hours minute minutes today tomorrow yesterday morning evening night
monday tuesday wednesday thursday friday saturday sunday january february march april june july august september october november december
people person man woman men women child children boy girl friend friends family mother father world country city town place home house room
thing things way part name names number numbers word words letter sentence text line list example question questions answer answers problem
reason idea fact story book page language english german kind type sort form case point side end start beginning top bottom middle left right
big small large little long short high low old new young good bad better best worse worst great nice fine fast slow hot cold warm easy hard
difficult important different possible real true false open close opens closed first second third last next one two three four five six seven
eight nine ten hundred thousand million half plus minus times divided equals sum opposite same go goes going went come comes came make makes
made take takes took find found use used uses work works working help call calls called ask asked talk speak say said write read hear see look
looking think believe feel like love hate try put bring keep turn run walk play move live eat drink sleep buy pay cost costs price money much
long far near often always never sometimes usually really well back away together else something anything nothing everything somebody someone
anyone everyone nobody hello hi hey bye goodbye thanks thank sorry welcome okay ok yes repeat explain describe translate spell color colour red
blue green black white water food weather music movie game car dog cat sun moon earth sky`;
const GERMAN = `zeit jahr jahre jahren tag tage tagen woche wochen monat monate monaten stunde stunden minute minuten uhr heute morgen gestern
abend nacht montag dienstag mittwoch donnerstag freitag samstag sonntag januar februar maerz mai juni juli august oktober dezember leute mensch
menschen mann frau kind kinder freund freunde familie mutter vater welt land stadt ort haus hause zimmer ding dinge sache weise teil name namen
heisst zahl zahlen nummer wort woerter buchstabe satz text liste beispiel frage fragen antwort antworten problem grund idee geschichte buch
seite sprache deutsch englisch art form fall punkt ende anfang mitte links rechts gross grosse klein kleine lang lange kurz hoch niedrig alt neu
jung gut gute schlecht besser beste bessere schnell langsam heiss kalt warm leicht schwer wichtig moeglich richtig falsch erste ersten zweite
dritte letzte naechste eins zwei drei vier fuenf sechs sieben acht neun zehn hundert tausend mal geteilt ergibt summe gegenteil gehen geht kommen
kommt machen macht nehmen finden finde benutzen arbeit arbeiten hilfe helfen hilf fragen sprechen schreiben schreib lesen hoeren sehen schauen
denken glauben fuehlen liebe versuchen bringen laufen spielen leben essen trinken schlafen kaufen bezahlen zahlen kostet kosten preis geld weit
oft immer nie manchmal wirklich zurueck zusammen etwas nichts jemand niemand hallo guten tschuess danke entschuldigung wiederhole wiederholen
erklaere erklaeren beschreibe uebersetze buchstabiere farbe rot blau gruen schwarz weiss wasser wetter musik film spiel auto hund katze sonne
mond erde himmel`;

/** English and German everyday content words, folded. */
export const COMMON_WORDS: ReadonlySet<string> = new Set(`${ENGLISH} ${GERMAN}`.split(/\s+/));
