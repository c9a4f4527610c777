/** A fact as different people ask for it and tell it: each list says the same in other words. */
export interface Paraphrased {
  questions: readonly [string, string, string, string];
  right: readonly [string, string, string];
  /** Another fact, told in the same ways. */
  wrong: readonly [string, string, string];
}

/** Questions to a town hall, in words of several people. */
export const PARAPHRASED: readonly Paraphrased[] = [
  {
    questions: [
      "When does the library open?",
      "Opening time of the library?",
      "From what time can I get into the library?",
      "What time do you open the library in the morning?",
    ],
    right: ["The library opens at 9 o'clock.", "At nine.", "You can come in from 9:00 on."],
    wrong: ["The library opens at 11 o'clock.", "At eleven.", "You can come in from 11:00 on."],
  },
  {
    questions: [
      "When does the library close?",
      "Closing time of the library?",
      "Until what time can I stay in the library?",
      "How late is the library open?",
    ],
    right: ["The library closes at 6 pm.", "It shuts at six in the evening.", "Until 18:00."],
    wrong: ["The library closes at 8 pm.", "It shuts at eight in the evening.", "Until 20:00."],
  },
  {
    questions: [
      "What does a resident parking permit cost?",
      "How much is a parking permit for residents?",
      "Price of a resident's parking permit?",
      "What do I have to pay to park as a resident?",
    ],
    right: ["A resident parking permit costs 120 euros a year.", "120 € per year.", "You pay a hundred and twenty euros for the year."],
    wrong: ["A resident parking permit costs 85 euros a year.", "85 € per year.", "You pay eighty-five euros for the year."],
  },
  {
    questions: [
      "Who do I talk to about a broken street lamp?",
      "Who is responsible for street lamps that do not work?",
      "Whom do I tell that a street lamp is out?",
      "Contact for a defective street lamp?",
    ],
    right: ["Mr Brandt in public works.", "Please call Mr Brandt of the public works office.", "Tell Brandt, he works in public works."],
    wrong: [
      "Mrs Ferrari in public works.",
      "Please call Mrs Ferrari of the public works office.",
      "Tell Ferrari, she works in public works.",
    ],
  },
  {
    questions: [
      "Which form do I need to register a dog?",
      "What is the form for registering my dog?",
      "Dog registration: which form?",
      "I got a dog. What do I fill in to register it?",
    ],
    right: ["You need form H12 to register a dog.", "Form H12.", "Fill in H12, it is on our website."],
    wrong: ["You need form K40 to register a dog.", "Form K40.", "Fill in K40, it is on our website."],
  },
  {
    questions: [
      "How long does a building permit take?",
      "How many weeks until I get my building permit?",
      "Processing time of a building permit?",
      "I applied for a building permit, how long must I wait?",
    ],
    right: ["A building permit takes 8 weeks.", "About eight weeks.", "Expect a wait of 8 weeks."],
    wrong: ["A building permit takes 3 weeks.", "About three weeks.", "Expect a wait of 3 weeks."],
  },
  {
    questions: [
      "Where is the lost property office?",
      "Where can I find the lost and found?",
      "In which building is the lost property office?",
      "I lost my umbrella, where do I ask for it?",
    ],
    right: ["The lost property office is in the old mill.", "In the old mill.", "Go to the old mill, they keep lost things there."],
    wrong: [
      "The lost property office is in the railway station.",
      "In the railway station.",
      "Go to the railway station, they keep lost things there.",
    ],
  },
  {
    questions: [
      "When is bulky waste collected?",
      "On which day do you pick up bulky waste?",
      "Collection day for bulky waste?",
      "When can I put my old sofa out on the street?",
    ],
    right: ["Bulky waste is collected on Tuesdays.", "Every Tuesday.", "The truck comes on Tuesday."],
    wrong: ["Bulky waste is collected on Fridays.", "Every Friday.", "The truck comes on Friday."],
  },
  {
    questions: [
      "Can I pay my fine by card?",
      "Is payment by card possible for a fine?",
      "Do you take cards for fines?",
      "Fine: may I pay with a credit card?",
    ],
    right: ["Yes, you can pay a fine by card.", "Yes, cards are accepted.", "Card payment is possible."],
    wrong: ["No, you cannot pay a fine by card.", "No, cards are not accepted.", "Card payment is not possible."],
  },
  {
    questions: [
      "How old must I be to get an identity card?",
      "Minimum age for an identity card?",
      "From what age can my son have an identity card?",
      "At which age do people get an identity card?",
    ],
    right: ["You must be 16 to get an identity card.", "From the age of sixteen.", "16 years."],
    wrong: ["You must be 14 to get an identity card.", "From the age of fourteen.", "14 years."],
  },
  {
    questions: [
      "Which room is the registry office in?",
      "Where do I find the registry office?",
      "Room number of the registry office?",
      "I have an appointment at the registry office, which room?",
    ],
    right: ["The registry office is in room 204.", "Room 204, second floor.", "Go up to 204."],
    wrong: ["The registry office is in room 117.", "Room 117, first floor.", "Go up to 117."],
  },
  {
    questions: [
      "What is the deadline for the business tax return?",
      "Until when must I hand in the business tax return?",
      "By which date is the business tax return due?",
      "Last day for my business tax return?",
    ],
    right: ["The deadline for the business tax return is 31 July.", "By July 31st.", "It is due on 31 July."],
    wrong: ["The deadline for the business tax return is 15 May.", "By May 15th.", "It is due on 15 May."],
  },
  {
    questions: [
      "Who leads the youth orchestra?",
      "Name of the conductor of the youth orchestra?",
      "Who conducts the youth orchestra?",
      "Which person is in charge of the youth orchestra?",
    ],
    right: ["The youth orchestra is led by Ms Aaltonen.", "Ms Aaltonen.", "Aaltonen conducts it."],
    wrong: ["The youth orchestra is led by Mr Dupont.", "Mr Dupont.", "Dupont conducts it."],
  },
  {
    questions: [
      "How many people fit into the community hall?",
      "What is the capacity of the community hall?",
      "Maximum number of guests in the community hall?",
      "I plan a wedding, how many guests may I invite to the community hall?",
    ],
    right: ["The community hall holds 180 people.", "180 guests at most.", "No more than 180."],
    wrong: ["The community hall holds 60 people.", "60 guests at most.", "No more than 60."],
  },
  {
    questions: [
      "Is the swimming pool heated in winter?",
      "Do you heat the swimming pool in winter?",
      "Swimming pool in winter: warm or not?",
      "Will the water of the swimming pool be warm in winter?",
    ],
    right: ["Yes, the swimming pool is heated in winter.", "Yes, all winter.", "It is heated the whole year."],
    wrong: ["No, the swimming pool is not heated in winter.", "No, not in winter.", "It is never heated in the cold season."],
  },
  {
    questions: [
      "How do I reach the night nurse?",
      "Phone extension of the night nurse?",
      "What number do I dial for the night nurse?",
      "I need a nurse at night, what do I dial?",
    ],
    right: ["Dial 4471 for the night nurse.", "The extension is 4471.", "4471"],
    wrong: ["Dial 4417 for the night nurse.", "The extension is 4417.", "4417"],
  },
  {
    questions: [
      "Which bus goes to the hospital?",
      "What bus line do I take to the hospital?",
      "Bus to the hospital?",
      "How do I get to the hospital by bus?",
    ],
    right: ["Bus 42 goes to the hospital.", "Take line 42.", "Use the 42 from the station."],
    wrong: ["Bus 17 goes to the hospital.", "Take line 17.", "Use the 17 from the station."],
  },
  {
    questions: [
      "How long can I keep a borrowed book?",
      "For how many days may I borrow a book?",
      "Loan period for books?",
      "When do I have to bring a book back?",
    ],
    right: ["You can keep a book for 28 days.", "28 days.", "Four weeks, that is 28 days."],
    wrong: ["You can keep a book for 14 days.", "14 days.", "Two weeks, that is 14 days."],
  },
  {
    questions: [
      "What colour is the bin for paper?",
      "Which bin takes old paper?",
      "Where does waste paper go?",
      "Paper: which colour of bin?",
    ],
    right: ["The bin for paper is blue.", "Blue.", "Old paper goes into the blue bin."],
    wrong: ["The bin for paper is yellow.", "Yellow.", "Old paper goes into the yellow bin."],
  },
  {
    questions: [
      "May I bring my dog into the town hall?",
      "Are dogs allowed in the town hall?",
      "Dogs in the town hall: allowed?",
      "Can my dog come along to the town hall?",
    ],
    right: ["Dogs are allowed in the town hall on a lead.", "Yes, on a lead.", "You may bring it if it is on a lead."],
    wrong: ["Dogs are not allowed in the town hall.", "No, never.", "You may not bring it."],
  },
  {
    questions: [
      "Wann öffnet das Bürgerbüro?",
      "Öffnungszeit des Bürgerbüros?",
      "Ab wann hat das Bürgerbüro offen?",
      "Um wie viel Uhr macht das Bürgerbüro auf?",
    ],
    right: ["Das Bürgerbüro öffnet um 8 Uhr.", "Um acht.", "Ab 8:00 Uhr."],
    wrong: ["Das Bürgerbüro öffnet um 10 Uhr.", "Um zehn.", "Ab 10:00 Uhr."],
  },
  {
    questions: [
      "Was kostet ein Reisepass?",
      "Wie hoch ist die Gebühr für einen Reisepass?",
      "Gebühr Reisepass?",
      "Wie viel muss ich für den Reisepass bezahlen?",
    ],
    right: ["Ein Reisepass kostet 70 Euro.", "70 €.", "Du zahlst siebzig Euro."],
    wrong: ["Ein Reisepass kostet 37 Euro.", "37 €.", "Du zahlst siebenunddreißig Euro."],
  },
  {
    questions: [
      "Wer ist für die Hundesteuer zuständig?",
      "Wen frage ich wegen der Hundesteuer?",
      "Ansprechpartner für die Hundesteuer?",
      "Wer kümmert sich um die Hundesteuer?",
    ],
    right: ["Für die Hundesteuer ist Frau Yildiz zuständig.", "Frau Yildiz.", "Fragen Sie Frau Yildiz im Steueramt."],
    wrong: ["Für die Hundesteuer ist Herr Nowak zuständig.", "Herr Nowak.", "Fragen Sie Herrn Nowak im Steueramt."],
  },
  {
    questions: [
      "Wo gebe ich Sondermüll ab?",
      "Wohin mit Sondermüll?",
      "Annahmestelle für Sondermüll?",
      "Wo kann ich alte Farben als Sondermüll loswerden?",
    ],
    right: ["Sondermüll gibst du am Wertstoffhof ab.", "Am Wertstoffhof.", "Bring ihn zum Wertstoffhof."],
    wrong: ["Sondermüll gibst du an der Kläranlage ab.", "An der Kläranlage.", "Bring ihn zur Kläranlage."],
  },
];

/** A question and one that asks for a part of it alone, each with its right answer: none contradicts the other. */
export const NARROWED: readonly (readonly [question: string, answer: string, narrower: string, answer: string])[] = [
  ["When does the library open?", "At 9 o'clock.", "When does the library open on Sundays?", "At 11 o'clock."],
  [
    "When does the library open?",
    "The library opens at 9 o'clock.",
    "Sunday opening time of the library?",
    "The library opens at 11 o'clock.",
  ],
  [
    "What does a parking permit cost?",
    "A parking permit costs 120 euros.",
    "What does a parking permit for residents cost?",
    "It costs 60 euros.",
  ],
  ["What does a parking permit cost?", "120 euros", "How much is a parking permit for visitors?", "15 euros"],
  [
    "How much is a ticket for the pool?",
    "A ticket costs 5 euros.",
    "How much is a child's ticket for the pool?",
    "A ticket costs 2 euros.",
  ],
  ["How much is a ticket for the pool?", "5 euros", "How much is a ticket for the pool in winter?", "7 euros"],
  ["How long does a building permit take?", "8 weeks", "How long does a building permit for a garage take?", "3 weeks"],
  ["How long can I keep a book?", "28 days", "How long can I keep a borrowed DVD or book with a student card?", "56 days"],
  ["Who leads the orchestra?", "Ms Aaltonen leads the orchestra.", "Who leads the youth orchestra?", "Mr Dupont leads the orchestra."],
  ["Which form do I need to register a dog?", "Form H12", "Which form do I need to register a second dog?", "Form H13"],
  ["Which room is the registry office in?", "Room 204", "Which room is the registry office in on Fridays?", "Room 117"],
  ["How many people fit into the hall?", "180 people", "How many people fit into the hall with tables?", "90 people"],
  ["Can I pay by card?", "Yes, cards are accepted.", "Can I pay a fine by card?", "No, cards are not accepted."],
  [
    "Which bus goes to the hospital?",
    "Bus 42 goes to the hospital.",
    "Which bus goes to the hospital at night?",
    "Bus N4 goes to the hospital.",
  ],
  ["Was kostet ein Reisepass?", "70 Euro", "Was kostet ein Reisepass für Kinder?", "37 Euro"],
  ["Wann öffnet das Bürgerbüro?", "Um 8 Uhr.", "Wann öffnet das Bürgerbüro am Samstag?", "Um 10 Uhr."],
];
