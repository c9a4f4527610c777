/**
 * What people ask a general assistant, English and German: the router's built-in picture of "no adapter's business". Written in
 * the frames that domain questions use too, so that the frame alone decides nothing.
 */
export const BACKGROUND_QUESTIONS: readonly string[] = `
Hello
Hi there, how are you?
Good morning!
Thank you very much.
Goodbye, see you tomorrow.
Who are you?
What is your name?
What can you do?
How can you help me?
Are you a human or a machine?
Can you understand German?
I am bored.
That was not helpful.
Yes, please.
No, that is wrong.
Can you say that again?
What is 3 plus 4?
How much is 12 times 8?
What is the square root of 81?
Is 17 a prime number?
What is half of one hundred?
What is the opposite of big?
What is another word for happy?
Repeat the word house.
Spell the word elephant.
How do you spell necessary?
Translate "good night" into French.
What does the word serendipity mean?
What day comes after Monday?
Which month comes after May?
What time is it?
What is the date today?
How many days are in a year?
What is the capital of France?
What is the population of Japan?
What is the highest mountain in the world?
What is the distance between the earth and the moon?
Where is the Amazon river?
Where can I see the northern lights?
Who wrote Romeo and Juliet?
Who was the first person on the moon?
Who is the president of the United States?
When did the second world war end?
When does summer start?
How long does it take to boil an egg?
How many legs does a spider have?
How high is the Eiffel tower?
How far away is the sun?
Why is the sky blue?
Why do cats purr?
Which animal is the fastest?
Which planet is the largest?
What color is a banana?
What is photosynthesis?
How does a car engine work?
Explain gravity to a child.
What is the difference between weather and climate?
Tell me a joke.
Tell me a story about a dragon.
Write a poem about the sea.
Write a short birthday greeting for my sister.
Give me three ideas for dinner.
How do I bake an apple pie?
What should I wear when it rains?
Can you recommend a good movie?
Which book should I read next?
What is the weather like today?
Who won the football game last night?
How do I learn to play the guitar?
How can I fall asleep faster?
What is the meaning of life?
Do you like music?
Sort these words by the alphabet: pear, apple, plum.
Summarize the following text in one sentence.
Correct the grammar of this sentence.
Write a function that reverses a string.
What is the best way to learn a language?
I need a name for my dog.
Flip a coin.
Count from one to ten.
Hallo
Guten Morgen, wie geht es dir?
Vielen Dank für deine Hilfe.
Auf Wiedersehen und bis bald.
Wer bist du?
Wie heißt du?
Was kannst du alles?
Bist du ein Mensch?
Das war nicht richtig.
Kannst du das noch einmal sagen?
Was ist 7 plus 5?
Wie viel ist 9 mal 6?
Was ist das Gegenteil von groß?
Wiederhole das Wort Baum.
Wie schreibt man Rhythmus?
Übersetze "danke" ins Englische.
Was bedeutet das Wort Fernweh?
Welcher Tag kommt nach Montag?
Welcher Monat kommt nach Mai?
Wie spät ist es?
Wie viele Tage hat ein Jahr?
Was ist die Hauptstadt von Italien?
Wie hoch ist der Kölner Dom?
Wie lang ist der Rhein?
Wie viele Einwohner hat Berlin?
Wo liegt die Zugspitze?
Wer hat den Faust geschrieben?
Wer war der erste Mensch auf dem Mond?
Wann fiel die Berliner Mauer?
Wann beginnt der Sommer?
Warum ist der Himmel blau?
Welches Tier ist am schnellsten?
Welche Farbe hat eine Zitrone?
In welchem Land liegt Wien?
Was ist der Unterschied zwischen Wetter und Klima?
Wie funktioniert ein Kühlschrank?
Erzähl mir einen Witz.
Schreibe ein Gedicht über den Herbst.
Nenne mir drei Ideen für das Abendessen.
Wie backe ich einen Apfelkuchen?
Was soll ich heute anziehen?
Welchen Film kannst du mir empfehlen?
Wie wird das Wetter morgen?
Wie lerne ich schneller Vokabeln?
Was muss ich für ein Omelett einkaufen?
Ich brauche einen Namen für meine Katze.
Fasse den folgenden Text zusammen.
Zähle von eins bis zehn.
`
  .trim()
  .split("\n");
