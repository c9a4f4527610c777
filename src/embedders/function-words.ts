/**
 * Words that carry grammar and not the topic, English and German, already folded. They say how a question is asked, and
 * questions of every domain are asked alike.
 */
const ENGLISH = `a an the this that these those there here i you he she it we they me him her us them my your his its our their mine yours
who whom whose what which where when why how whether and or but if then than because so as at by for from in into of off on onto out over
under up down to toward with within without about above below after before again against between through during until while is am are was
were be been being have has had having do does did doing done can could may might must shall should will would not no nor only own same too
very just also any some all each every both few more most much many other another such s t d ll m re ve don isn aren won please tell name
know need want let give say show get got does exactly actually maybe still yet ever`;
const GERMAN = `der die das den dem des ein eine einen einem einer eines kein keine keinen keinem keiner keines dieser diese dieses diesen diesem
jener jene jenes ich du er sie es wir ihr mich dich sich uns euch mir dir ihm ihn ihnen mein meine meinen meinem meiner meines dein deine deinen
deinem deiner sein seine seinen seinem seiner ihre ihren ihrem ihrer unser unsere unseren unserem unserer euer eure wer wen wem wessen was welche
welcher welches welchen welchem wo wohin woher wann warum weshalb wieso wie ob und oder aber wenn dann als weil denn dass so zu zum zur im in ins
am an ans auf aus bei beim mit nach von vom vor fuer ueber unter um durch gegen ohne bis seit waehrend zwischen ist bin bist sind seid war waren
gewesen werden wird wirst wurde wurden worden haben habe hast hat hatte hatten kann kannst koennen koennte koennten konnte muss musst muessen
muesste darf duerfen soll sollen sollte will wollen wollte moechte moechten mag nicht nur auch noch schon sehr mehr viel viele vielen alle alles
allen jede jeder jedes jeden man hier da dort bitte sag sage sagen nenne nennen gib geben wissen weiss brauche brauchst brauchen braucht denn doch
mal ja nein genau eigentlich etwa gibt lassen`;

/** English and German function words, folded. */
export const FUNCTION_WORDS: ReadonlySet<string> = new Set(`${ENGLISH} ${GERMAN}`.split(/\s+/));
